"""What people see in Marquez and DataHub is what the store says, in whatever order it came.

The flights DAG is really run, for two months; every way a task can end is a recording of a real
scheduler; what no Airflow of ours does is written by hand. All of it goes through the store, the
forwarder and HTTP into both stubs. What is seen is compared with the store's facts, and without any
one rule something of it is wrong.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provenance.collect.feeds import deliveries
from airflow_provenance.collect.feeds.base import Route
from airflow_provenance.collect.feeds.http import HttpFeed
from airflow_provenance.collect.forward import Forwarder
from airflow_provenance.formats.shaping import datahub, marquez, openlineage
from airflow_provenance.formats.spool_line import decode_line
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.outbox import DeadLetter
from airflow_provenance.store.sql.store import SqlStore
from tests.support import stories
from tests.support.datahub_stub import OPENLINEAGE_PATH, DataHubStub
from tests.support.marquez_stub import MarquezStub
from tests.support.seen import (
    due_in_datahub,
    due_in_marquez,
    seen_in_datahub,
    seen_in_marquez,
    wrong as _wrong,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.store.base import Store
    from tests.support.seen import Seen
    from tests.support.stories import Entries

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

NOW = 1_800_000_000_000_000
MONTHS = ("2013-01", "2013-02")
Json = dict[str, Any]


class Backend(NamedTuple):
    """A backend of which a person sees something, and what that should be."""

    rules: Any
    open: Callable[[], Any]
    path: str
    seen: Callable[[Any], Seen]
    due: Callable[[Store], Seen]


BACKENDS = {
    "marquez": Backend(
        marquez.RULES, MarquezStub, "/api/v1/lineage",
        lambda stub: seen_in_marquez(stub.url), due_in_marquez,
    ),
    "datahub": Backend(
        datahub.RULES, DataHubStub, OPENLINEAGE_PATH, seen_in_datahub, due_in_datahub
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Entries:
    """What the flights DAG spools in two months, run by Airflow."""
    home = tmp_path_factory.mktemp("flights") / "home"
    command = [sys.executable, "-m", "airflow_provenance.cli", "demo", "--home", str(home)]
    done = subprocess.run(
        [*command, "--months", *MONTHS],
        env={k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "OPENLINEAGE_"))},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spool = (home / "provenance" / "spool").glob("*.spool")
    store = SqlStore(f"sqlite:///{home}/provenance/provenance.db")
    found: Entries = [("E", one.raw or b"") for one in store.entries(limit=10_000, with_raw=True)
                      if one.kind != "note"]  # fmt: skip
    store.close()
    found += [
        decode_line(line) for path in spool for line in path.read_bytes().split(b"\n") if line
    ]
    return found


@pytest.fixture(scope="module")
def told(flights: Entries) -> Entries:
    """Every story, in the order of its times."""
    return sorted([*flights, *stories.everything(), *stories.by_hand()], key=_when)


def _when(entry: tuple[str, bytes]) -> str:
    said = json.loads(entry[1])
    return str(said.get("eventTime") or said["at"])


def _depth(entry: tuple[str, bytes]) -> tuple[int, str]:
    """Return how deep below its DAG run an entry is: queries before tasks before DAG runs."""
    said = json.loads(entry[1])
    return (-str(said.get("job", {}).get("name", "")).count("."), _when(entry))


def _is_end(entry: tuple[str, bytes]) -> bool:
    return json.loads(entry[1]).get("eventType") in ("COMPLETE", "FAIL", "ABORT")


def _phase(entry: tuple[str, bytes]) -> int:
    return {"START": 1}.get(json.loads(entry[1]).get("eventType"), 2 if _is_end(entry) else 0)


def _shuffled(seed: int) -> Callable[[Entries], Entries]:
    return lambda told: random.Random(seed).sample(told, len(told))


ORDERS: dict[str, Callable[[Entries], Entries]] = {
    "as it was": list,
    "reversed": lambda told: told[::-1],
    "ends before starts": lambda told: sorted(told, key=lambda one: not _is_end(one)),
    "what goes on before its start": lambda told: sorted(told, key=_phase),
    "children before parents": lambda told: sorted(told, key=_depth),
    "parents and their ends first": lambda told: sorted(
        told, key=lambda one: (-_depth(one)[0], not _is_end(one))
    ),
    **{f"seed {seed}": _shuffled(seed) for seed in range(4)},
}


class Delivered(NamedTuple):
    wrong: dict[str, list[Any]]
    sent: int
    due: Seen


def deliver(
    backend: Backend,
    told: Entries,
    *,
    store: Store | None = None,
    step: int = 10_000,
    again: int = 0,
    rules: Any = None,
) -> Delivered:
    """Deliver entries, `step` of them known at a time; return what is seen and should not be."""
    store = store or MemoryStore()
    chance, sent, dead = random.Random(1), 0, 0
    with backend.open() as stub:
        feed = HttpFeed(stub.url + backend.path)
        forwarder = Forwarder(store, [Route("it", feed, backend.rules if rules is None else rules)])
        for start in range(0, len(told), step):
            report = store.ingest(told[start : start + step], received_us=NOW + start)
            assert report.quarantined == 0, store.quarantine()
            for _ in range(8):
                round_ = forwarder.run_once(patience_s=None)
                sent += round_.sent
                dead += round_.dead
                if not round_.errors:
                    break
                store.resume_feed("it")
        for _ in range(again):
            store.rewind_feed("it", NOW + chance.randrange(len(told)))
            sent += forwarder.run_once(patience_s=None).sent
        forwarder.close()
        due = backend.due(store)
        found = _wrong(backend.seen(stub), due)
    if dead or store.feeds()[0].cursor < store.last_seq():
        found["refused"] = [str(one) for one in [*store.dead_letters("it"), store.feeds()[0]]]
    return Delivered(found, sent, due)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("step", [1, 10_000], ids=["one by one", "all at once"])
@pytest.mark.parametrize("order", ORDERS)
def test_in_every_order_a_person_sees_what_the_store_says(
    name: str, step: int, order: str, told: Entries
) -> None:
    assert deliver(BACKENDS[name], ORDERS[order](told), step=step).wrong == {}


@pytest.mark.parametrize("name", BACKENDS)
def test_repeats_and_replays_change_nothing_that_is_seen(name: str, told: Entries) -> None:
    for order in ("as it was", "reversed", "seed 1"):
        found = deliver(BACKENDS[name], ORDERS[order](told), step=7, again=5)
        assert found.wrong == {}
        assert found.sent > 2 * len(told)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_dead_letter_that_goes_late_changes_nothing_that_is_seen(
    name: str, told: Entries
) -> None:
    """An old START or COMPLETE alone, after all that came later: the worst replay there is."""
    backend, store = BACKENDS[name], MemoryStore()
    store.ingest(told, received_us=NOW)
    with backend.open() as stub:
        feed = HttpFeed(stub.url + backend.path)
        forwarder = Forwarder(store, [Route("it", feed, backend.rules)])
        forwarder.run_once(patience_s=None)
        ended = [one for one in store.entries(limit=10_000) if one.kind != "note"]
        letters = [DeadLetter(one.seq, 1, "it said no", NOW) for one in ended]
        random.Random(3).shuffle(letters)
        for letter in letters[:60]:
            store.put_dead_letters("it", [letter])
            assert forwarder.retry_dead_letters("it") == (1, 0)
        forwarder.close()
        assert _wrong(backend.seen(stub), backend.due(store)) == {}


# What is wrong without a rule: in which order, and of which aspect.
WITHOUT = {
    "marquez late_rides_on_terminal": ("reversed", "states"),
    "marquez start_first": ("what goes on before its start", "durations"),
    "marquez own_run_ids": ("as it was", "versions"),
    "marquez whole_io": ("as it was", "edges"),
    "marquez io_on_task": ("as it was", "versions"),
    "marquez outputs_at_the_end": ("as it was", "versions"),
    "marquez whole_assertions": ("as it was", "quality"),
    "marquez unique_assertions": ("as it was", "quality"),
    "marquez start_before_end": ("reversed", "durations"),
    "marquez success_before_override": ("reversed", "current"),
    "marquez end_told_by_a_note": ("as it was", "states"),
    "marquez children_again": ("reversed", "parents"),
    "marquez newest_again": ("reversed", "current"),
    "datahub only_run_events": ("as it was", "refused"),
    "datahub no_dag_runs": ("as it was", "states"),
    "datahub late_rides_on_terminal": ("reversed", "states"),
    "datahub own_run_ids": ("as it was", "states"),
    "datahub whole_io": ("as it was", "edges"),
    "datahub io_on_task": ("as it was", "edges"),
    "datahub whole_facets": ("as it was", "properties"),
    "datahub no_other": ("as it was", "states"),
    "datahub engine_named": ("as it was", "refused"),
    "datahub valid_uris": ("as it was", "edges"),
}


def _rules() -> dict[str, tuple[str, Any]]:
    rules = {
        f"{name} {rule.__name__}": (name, rule)
        for name, backend in BACKENDS.items()
        for rule in backend.rules
    }
    steps = (*deliveries.BEFORE, *deliveries.AFTER)
    return rules | {f"marquez {step.__name__}": ("marquez", step) for step in steps}


@pytest.mark.parametrize("named", _rules())
def test_without_a_rule_a_person_sees_something_wrong(
    named: str, told: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, rule), (order, aspect) = _rules()[named], WITHOUT[named]
    for steps in ("BEFORE", "AFTER"):
        kept = tuple(one for one in getattr(deliveries, steps) if one is not rule)
        monkeypatch.setattr(deliveries, steps, kept)
    rules = tuple(one for one in BACKENDS[name].rules if one is not rule)

    found = deliver(BACKENDS[name], ORDERS[order](told), step=1, rules=rules)

    assert aspect in found.wrong


def test_another_endpoint_is_left_with_no_run_that_has_ended_and_is_open(told: Entries) -> None:
    def left_open(rules: Any) -> set[str]:
        found = deliver(BACKENDS["marquez"], told[::-1], step=1, rules=rules).wrong
        rows = [*found.get("states", ()), *found.get("durations", ())]
        return {run for run, seen, due in rows if seen == "RUNNING" != due}

    assert not left_open(openlineage.RULES) & left_open(())
    assert len(left_open(())) > 20
