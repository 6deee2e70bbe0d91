"""What is upstream of what, from what was recorded: who absorbs whose alert (A10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.lineage import Lineage
from airflow_provenance.alerts.routes import Route
from airflow_provenance.domain.alert import Alert, AlertState
from airflow_provenance.domain.evaluation_change import EvaluationChange
from tests.support.entries import data, put_all, run_of, task

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

NOW = 1_800_000_000_000_000


def change(target: str, *runs: int) -> EvaluationChange:
    return EvaluationChange(
        policy_id=target.replace(":", "-"),
        revision="r",
        period="p/1",
        state="breached",
        target=target,
        runs=runs,
        breached_us=NOW,
        due_us=NOW,
        at_us=NOW,
        seq=1,
    )


def alert(target: str, *runs: int) -> Alert:
    one = change(target, *runs)
    return Alert(fingerprint=target, labels={}, change=one, began_us=NOW)


def story(store: Store) -> None:
    """A source that twelve DAGs read, each of which writes one dataset."""
    made = [data("raw")]
    source = {"dag": "source", "run": 100}
    put_all(store, task("START", 1, "pull", **source))
    put_all(store, task("COMPLETE", 9, "pull", outputs=made, **source))
    for n in range(12):
        below = {"dag": f"d{n}", "run": n + 1}
        put_all(store, task("START", 10, "build", inputs=made, **below))
        told = {"inputs": made, "outputs": [data(f"mart{n}")]}
        put_all(store, task("COMPLETE", 20, "build", **told, **below))


def test_twelve_promises_below_a_source_are_one_notice_by_the_lineage_that_was_recorded(
    store: Store,
) -> None:
    story(store)
    below = [change(f"dataset:pg/mart{n}") for n in range(6)]
    below += [change(f"task:d{n}.build", run_of(store, f"d{n}.build").id) for n in range(6, 12)]
    rules = Rules([Route("r", ("c",), group_wait_us=0)], upstream=Lineage(store))
    before = AlertState(began_us=NOW - 1)
    done = advance(before, [*below, change("task:source.pull")], rules, NOW + 1)
    (notice,) = done.notices
    assert notice.firing[0].target == "task:source.pull"
    assert len(notice.firing[0].affected) == 12


def test_a_dag_lies_above_what_its_data_flows_into_and_not_beside_or_below_it(
    store: Store,
) -> None:
    story(store)
    upstream = Lineage(store)
    targets = ["dag:source", "dataset:raw", "dag:d1", "dag:d2", "dataset:mart1", "task:d1.build"]
    build = run_of(store, "d1.build").id
    assert upstream(alert("task:d1.build", build), targets) == {"dag:source", "dataset:raw"}
    assert upstream(alert("dataset:mart1"), targets) == {
        *("dag:source", "dataset:raw", "dag:d1", "task:d1.build")
    }
    assert upstream(alert("task:source.pull"), targets) == frozenset()
    assert upstream(alert("dag:nobody-knows"), targets) == frozenset()
    assert upstream(alert("channel:slack"), targets) == frozenset()
