"""What a batch costs must not grow with the store: from a stage through indexes, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.store.sql import bulk
from airflow_provenance.store.sql.bulk import PostgresBulk, SqliteBulk
from tests.benchmarks.corpus import corpus
from tests.contract.support import RECEIVED_US

if TYPE_CHECKING:
    from tests.contract.conftest import FreshSqlStore

EVENTS = 1_500


def _explained(monkeypatch: pytest.MonkeyPatch, kind: Any, explain: str) -> dict[str, list[str]]:
    """Explain each query that a batch joins a stage with, before it is run."""
    plans: dict[str, list[str]] = {}
    name = "fetch" if kind is SqliteBulk else "_rows"
    fetch = getattr(kind, name)

    def explaining(self: Any, sql: str, parameters: Any = ()) -> Any:
        if " q_" in sql and "INSERT" not in sql:
            plans[sql] = [str(row[-1]) for row in fetch(self, explain + sql, parameters)]
        return fetch(self, sql, parameters)

    monkeypatch.setattr(kind, name, explaining)
    return plans


def _ingest(store: FreshSqlStore) -> None:
    events = [("E", raw) for raw in corpus(EVENTS)]
    # Out of order, so that reads are linked again and runs are loaded.
    for start in (1, 0):
        store.ingest(events[start::2], received_us=RECEIVED_US)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_sqlite_reads_no_table_as_a_whole(
    store: FreshSqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = _explained(monkeypatch, SqliteBulk, "EXPLAIN QUERY PLAN ")
    _ingest(store)
    assert len(plans) > 12
    for sql, steps in plans.items():
        assert steps[0].startswith("SCAN q"), (sql, steps)
        assert not any("SCAN" in step or "AUTOMATIC" in step for step in steps[1:]), (sql, steps)


@pytest.mark.parametrize("few", [0, 1_000_000], ids=["stages", "rows with the statement"])
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_postgres_reads_no_table_as_a_whole(
    store: FreshSqlStore, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(bulk, "_FEW", few)
    plans = _explained(monkeypatch, PostgresBulk, "EXPLAIN ")
    _ingest(store)
    assert len(plans) > 12
    for sql, steps in plans.items():
        scanned = [step for step in steps if "Seq Scan on" in step]
        assert all("Seq Scan on q_" in step for step in scanned), (sql, steps)
        for step, following in zip(steps, [*steps[1:], ""], strict=True):
            if " using " in step:
                assert "Index Cond" in following, (sql, steps)
            # Without a bound on time it would read a dataset's whole history.
            if " using dataset_version_newest" in step and "v.status = 3" not in sql:
                assert "ended_us" in following, (sql, steps)
