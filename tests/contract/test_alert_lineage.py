"""What is upstream of what, from what was recorded: who absorbs whose alert (A10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.alerts.inhibit import absorb, explains
from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.lineage import Lineage
from airflow_provenance.alerts.routes import Route
from airflow_provenance.domain.alert import Alert, AlertState
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.store.base import RunQuery
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


def test_bad_data_is_explained_by_the_very_runs_it_came_from(store: Store) -> None:
    story(store)
    other = {"dag": "source", "run": 200}
    put_all(store, task("COMPLETE", 30, "pull", dag_run="r2", outputs=[data("raw")], **other))
    lineage = Lineage(store)
    build = run_of(store, "d1.build").id
    second, first = (run.id for run in store.runs(RunQuery(job="source.pull")))  # newest first
    below = alert("task:d1.build", build)
    assert lineage.joins(alert("task:source.pull", first), below)
    assert not lineage.joins(alert("task:source.pull", second), below)
    assert lineage.joins(alert("task:source.pull"), below)  # a run that never was


def test_what_is_late_explains_no_bad_values_and_bad_values_no_missing_rows() -> None:
    kinds = {"late": "deadline", "values": "data_quality", "rows": "completeness"}
    told = {}
    for above in kinds:
        for below in kinds:
            alerts = {
                name: msgspec.structs.replace(
                    alert(f"task:{name}"), fingerprint=name, began_us=NOW + number
                )
                for number, name in enumerate(("above", "below"))
            }
            kind = {"task-above": kinds[above], "task-below": kinds[below]}
            found = absorb(
                alerts,
                (),
                lambda one, _: frozenset({"task:above"} if "below" in one.fingerprint else ()),
                NOW,
                0,
                lambda one, other: explains(
                    kind[one.change.policy_id],  # noqa: B023 - asked at once
                    kind[other.change.policy_id],  # noqa: B023
                ),
            )
            told[above, below] = found["below"].absorbed_by is not None
    assert told == {
        ("late", "late"): True,
        ("late", "values"): False,
        ("late", "rows"): True,
        ("values", "late"): True,
        ("values", "values"): True,
        ("values", "rows"): False,
        ("rows", "late"): True,
        ("rows", "values"): True,
        ("rows", "rows"): True,
    }
