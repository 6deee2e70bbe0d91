"""How fast events become facts, beside the least that writing those facts can take.

The limit: the very rows and bytes that the ingest left, put into an empty schema by the product's
own bulk insert, in as many transactions; nothing is parsed, derived, compressed or looked up.

The floor: that, and what no way of ingest can leave out: each event decoded once and hashed, and
each body that is kept compressed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.store.sql import codec
from airflow_provenance.store.sql.engine import reading, writing
from airflow_provenance.store.sql.tables import metadata
from tests.benchmarks.corpus import corpus
from tests.benchmarks.rounds import Spent, Timer, empty_store, rivals, summary, table

if TYPE_CHECKING:
    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.sql.store import SqlStore

BATCH = 2_000
_RECEIVED_US = 1_800_000_000_000_000

# Table -> its columns, its rows in the order of its key.
Rows = dict[str, tuple[str, list[tuple[Any, ...]]]]


def _ingest(store: SqlStore, batches: list[list[tuple[Kind, bytes]]]) -> Spent:
    with Timer() as timer:
        for batch in batches:
            report = store.ingest(batch, received_us=_RECEIVED_US)
            if report.ingested != len(batch):
                raise AssertionError(f"not all was ingested: {report}")
    return timer.spent


def rows_of(store: SqlStore) -> Rows:
    """Return every row of every table."""
    found: Rows = {}
    with reading(store._engine) as bulk:
        for one in metadata.sorted_tables:
            columns = ", ".join(column.name for column in one.columns)
            order = ", ".join(column.name for column in one.primary_key)
            rows = bulk.fetch(f"SELECT {columns} FROM {one.name} ORDER BY {order}")
            found[one.name] = (columns, rows)
    return found


def _insert(store: SqlStore, rows: Rows, transactions: int) -> Spent:
    with Timer() as timer:
        for number in range(transactions):
            with writing(store._engine) as bulk:
                for name, (columns, those) in rows.items():
                    start = len(those) * number // transactions
                    end = len(those) * (number + 1) // transactions
                    bulk.insert(name, columns, those[start:end])
    return timer.spent


def _unavoidable(rows: Rows, batches: list[list[tuple[Kind, bytes]]]) -> Spent:
    """Decode and hash every event, compress every body as it was."""
    bodies = [codec.unpack_bytes(row[-1]) for row in rows["event_chunk"][1]]
    documents = [codec.unpack_run(row[-1]) for row in rows["run_doc"][1]]
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    with Timer() as timer:
        for batch in batches:
            for _, raw in batch:
                decoder.decode(raw)
                hashlib.sha256(raw).digest()
        for body in bodies:
            codec.pack_bytes(body)
        for key, doc in documents:
            codec.pack_run(key, doc)
    return timer.spent


def run(server: str | None, *, events: int, rounds: int) -> dict[str, Any]:
    """Measure both stores in turn; each round ingests into an empty store."""
    entries: list[tuple[Kind, bytes]] = [("E", raw) for raw in corpus(events)]
    batches = [entries[at : at + BATCH] for at in range(0, events, BATCH)]
    spent: dict[str, dict[str, list[Spent]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, int] = {}
    # One ingest that is not measured: imports, and pages of the disk's cache.
    with empty_store("sqlite", server) as store:
        _ingest(store, batches[:1])
    for number in range(rounds):
        order = rivals(server)
        for rival in order if number % 2 == 0 else reversed(order):
            with empty_store(rival, server) as store:
                spent[rival]["ingest"].append(_ingest(store, batches))
                rows = rows_of(store)
            spent[rival]["unavoidable"].append(_unavoidable(rows, batches))
            with empty_store(rival, server) as store:
                spent[rival]["limit"].append(_insert(store, rows, len(batches)))
            found = {name: len(those) for name, (_, those) in rows.items()}
            if found != (counts or found):
                raise AssertionError(f"stores differ: {counts} and {found} in {rival}")
            counts = found
    return {
        "events": events,
        "batch": BATCH,
        "bytes_per_event": round(sum(len(raw) for _, raw in entries) / events),
        "rounds": rounds,
        "rows": counts,
        "stores": {rival: _figures(those, events) for rival, those in spent.items()},
    }


def _figures(spent: dict[str, list[Spent]], events: int) -> dict[str, Any]:
    ingests, limits = spent["ingest"], spent["limit"]
    floors = [
        limit.wall + extra.wall for limit, extra in zip(limits, spent["unavoidable"], strict=True)
    ]
    return {
        "ingest_s": summary([one.wall for one in ingests]),
        "ingest_cpu_s": summary([one.cpu for one in ingests]),
        "limit_s": summary([one.wall for one in limits]),
        "floor_s": summary(floors),
        "share_of_limit": summary(
            [limit.wall / one.wall for one, limit in zip(ingests, limits, strict=True)]
        ),
        "share_of_floor": summary(
            [floor / one.wall for one, floor in zip(ingests, floors, strict=True)]
        ),
        "events_per_s": summary([events / one.wall for one in ingests], 0),
        "events_per_cpu_s": summary([events / one.cpu for one in ingests], 0),
        "limit_events_per_s": summary([events / one.wall for one in limits], 0),
        "floor_events_per_s": summary([events / floor for floor in floors], 0),
    }


def text(result: dict[str, Any]) -> str:
    """Return the result for people. Of a rate the best round is the greatest."""
    names = ("events_per_s", "events_per_cpu_s", "limit_events_per_s", "floor_events_per_s")
    rows = []
    for rival, figures in result["stores"].items():
        rates = [figures[name] for name in names]
        rows.append(
            [
                rival,
                *(f"{one['median']:,.0f} / {max(one['rounds']):,.0f}" for one in rates),
                f"{figures['share_of_limit']['median']:.0%}",
                f"{figures['share_of_floor']['median']:.0%}",
            ]
        )
    header = ["events/s, median / best", "ingest", "per s of CPU", "limit", "floor"]
    return (
        f"Ingest: {result['events']:,} events of {result['bytes_per_event']:,} bytes, "
        f"{result['batch']:,} a transaction, {result['rounds']} rounds\n"
        f"{table([*header, 'of limit', 'of floor'], rows)}\n"
        f"rows: {', '.join(f'{name} {n:,}' for name, n in result['rows'].items() if n)}"
    )
