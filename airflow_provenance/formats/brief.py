"""The little of a run's document that most promises go by, small enough to be kept beside a run.

A document has all that was ever said of a run, some kilobytes; judging ten thousand promises looks
at a hundred thousand runs. `brief_of` is read off a document whenever that is written, and always
gives the same for the same document.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.run import ConsumedSource
from airflow_provenance.domain.synthesised import queued_us, scheduled_us, told_number
from airflow_provenance.errors import EventError
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets.standard import OUTPUT_STATISTICS

if TYPE_CHECKING:
    from airflow_provenance.domain.run import Facets, Io, RunDoc

# In the ``extra`` of an asset event: the newest event time that the data has.
_WATERMARK = "watermark"


class Written(msgspec.Struct, array_like=True, gc=False):
    """A dataset that a run wrote, and how much of it."""

    dataset: str
    partition: str | None = None
    rows: int | None = None
    size_bytes: int | None = None
    event_time_us: int | None = None


class RunBrief(msgspec.Struct, array_like=True, gc=False):
    """Times in UTC microseconds, as what was said of the run has them."""

    run_type: str | None = None
    run_after_us: int | None = None
    logical_us: int | None = None
    interval_end_us: int | None = None
    scheduled_us: int | None = None
    queued_us: int | None = None
    said_end_us: int | None = None  # of a DAG run, by the facet of its last event
    terminal_us: int | None = None
    first_end_us: int | None = None
    is_recorded: bool = False  # whether Airflow's own record says when it ended
    writes: tuple[Written, ...] = ()
    consumed: tuple[ConsumedSource, ...] = ()
    # New members go to the end: briefs in a store are arrays.


def brief_of(doc: RunDoc) -> RunBrief:
    """Return what most promises go by."""
    told = _dag_run(doc.run_facets)
    run_type = told.get("run_type")
    return RunBrief(
        run_type=run_type if isinstance(run_type, str) and run_type else None,
        run_after_us=_time(told.get("run_after")),
        logical_us=_time(told.get("logical_date")),
        interval_end_us=_time(told.get("data_interval_end")),
        scheduled_us=scheduled_us(doc),
        queued_us=queued_us(doc),
        said_end_us=_time(told.get("end_date")),
        terminal_us=None if doc.terminal is None else doc.terminal[0],
        first_end_us=doc.first_end_us,
        is_recorded=told_number(doc, "ended_at") is not None,
        # In an order that does not hang on what a store returns first.
        writes=tuple(
            sorted(
                (amounts_of(io, OUTPUT_STATISTICS) for io in doc.outputs.values()),
                key=lambda one: (one.dataset, one.partition or ""),
            )
        ),
        consumed=() if doc.consumed is None else tuple(map(_source, doc.consumed[2])),
    )


def amounts_of(io: Io, statistics: str) -> Written:
    """Return how much of a dataset a run handled, as a facet says or else its content."""
    name = "/".join(io.dataset)
    if not io.facets and not io.role_facets:
        return Written(name, io.partition)
    counted = facet_of(io.role_facets, statistics)
    content = facet_of(io.facets, facets.CONTENT)
    extra = facet_of(io.facets, facets.ASSET).get("extra")
    rows, size = whole(counted.get("rowCount")), whole(counted.get("size"))
    return Written(
        name,
        io.partition,
        whole(content.get("rowCount")) if rows is None else rows,
        whole(content.get("sizeBytes")) if size is None else size,
        _time(extra.get(_WATERMARK)) if isinstance(extra, dict) else None,
    )


def facet_of(facets_of: Facets, name: str) -> dict[str, Any]:
    """Return a facet's members; none where it is absent or of another form."""
    value = None
    if (found := facets_of.get(name)) is not None:
        with suppress(msgspec.DecodeError):  # a text that is none, as half a character
            value = msgspec.json.decode(found[2])
    return value if isinstance(value, dict) else {}


def whole(value: object) -> int | None:
    """Return a whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _source(told: ConsumedSource) -> ConsumedSource:
    dag_id, run_id, task_id, map_index = told  # a store may hold it as a list
    return dag_id, run_id, task_id, map_index


class _DagRunFacet(msgspec.Struct):
    """Of a facet with all that Airflow says of a task, the part that is looked at."""

    dagRun: dict[str, Any] = {}  # noqa: N815 - the facet's name for it


_DAG_RUN = msgspec.json.Decoder(_DagRunFacet)


def _dag_run(run_facets: Facets) -> dict[str, Any]:
    for name in ("airflowDagRun", "airflow"):
        if (found := run_facets.get(name)) is not None:
            with suppress(msgspec.DecodeError):  # some other producer's
                return _DAG_RUN.decode(found[2]).dagRun
    return {}


def _time(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        return parse_time(text)
    except EventError:
        return None
