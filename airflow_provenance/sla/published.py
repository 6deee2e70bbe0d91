"""A change of how a promise stands, as the OpenLineage events of a run of the promise's own job.

The run says START and COMPLETE also of a breach: it is the promise that was broken, not its run.
Its input is the dataset that is watched, with how all promises about that dataset stand, because
who shows them (Marquez) shows the newest facet alone. All of it follows from the change as it was
recorded; `collect.publish` puts it into the store.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from airflow_provenance.domain.clock import format_time, parse_time
from airflow_provenance.errors import EventError
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard
from airflow_provenance.sla.durations import format_duration
from airflow_provenance.sla.evaluation import State
from airflow_provenance.store.base import PROMISE_JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.domain.identity import DatasetRef

_SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
Status = Literal["pass", "fail", "skip"]
_FAILED = {State.BREACHED, State.EXPIRED}
_NOT_JUDGED = {State.SUSPENDED, State.NO_DATA, State.INSUFFICIENT_HISTORY, State.PENDING}
_SEVERITIES = {"page": "error", "ticket": "warn"}
_RUNS_AT_MOST = 20
Row = dict[str, Any]


class Blamed(NamedTuple):
    """The job that a breach is put down to, and its run if there was one."""

    namespace: str
    name: str
    run_id: str | None = None


class Published(NamedTuple):
    """What is told of a change beside the change.

    Attributes:
        namespace: of the promise's job.
        kind: of the promise.
        at_us: when its run starts; it ends a microsecond later.
        runs: those that the change was computed from, as the facet has them.
        dataset: what is watched, where that is a dataset that is known.
        rows: how all promises about it stand, this one among them.
        blamed: what broke it.
        description: of the promise.
    """

    namespace: str
    kind: str
    at_us: int
    runs: Sequence[Mapping[str, str]] = ()
    dataset: DatasetRef | None = None
    rows: Sequence[Row] = ()
    blamed: Blamed | None = None
    description: str | None = None


def job_name(policy_id: str) -> str:
    """Return the name of a promise's job."""
    return PROMISE_JOBS + policy_id


def run_uuid(namespace: str, change: EvaluationChange) -> str:
    """Return the runId of a change: the same one for the same change of the same Airflow.

    The counter of transitions is the change's place among all of them, so no earlier one need be
    read to know it.
    """
    text = "\0".join((change.policy_id, change.revision, change.period, str(change.seq)))
    return str(uuid5(_of(namespace), text))


def _of(namespace: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"urn:airflow-provenance:sla:{namespace}")


def status_of(state: str) -> Status:
    """Return whether a promise is kept; ``skip`` where there is nothing to judge by.

    What was broken and made good late is kept: what was promised is there.
    """
    if state in _FAILED:
        return "fail"
    return "skip" if state in _NOT_JUDGED else "pass"


def row_of(change: EvaluationChange, kind: str) -> Row | None:
    """Return how a promise stands as an assertion about its dataset; None where nobody can say.

    Its text is the promise's own: rows with the same text would hide each other.
    """
    status = status_of(change.state)
    if status == "skip":
        return None
    said = {"policy": change.policy_id, "state": change.state, "period": change.period}
    due = {"dueAt": format_time(change.due_us)} if change.due_us is not None else {}
    return standard.assertion(
        f"sla:{kind}:{change.policy_id}",
        success=status == "pass",
        column=None,
        severity=_SEVERITIES.get(change.severity, "warn"),
        failed_rows=None,
        expected=_expected(change),
        actual=_amount(change.observed, change.unit),
        params={**said, **due},
    )


def is_row_of(policy_id: str, row: object) -> bool:
    """Whether an assertion is how this promise stands."""
    if not isinstance(row, dict) or not str(row.get("assertion")).startswith("sla:"):
        return False
    params = row.get("params")
    return isinstance(params, dict) and params.get("policy") == policy_id


def is_of_earlier_period(change: EvaluationChange, row: Row) -> bool:
    """Whether a change is of a period before the one that a row tells of.

    What was missed last week may expire today; the row is how the promise stands for today's.
    """
    due = (row.get("params") or {}).get("dueAt")
    try:
        return change.due_us is not None and due is not None and change.due_us < parse_time(due)
    except EventError:
        return False


def events_of(change: EvaluationChange, told: Published) -> tuple[bytes, bytes]:
    """Return the START and the COMPLETE of a change."""
    run = {"runId": run_uuid(told.namespace, change), "facets": _run_facets(change, told)}
    inputs: list[Row] = []
    if told.dataset is not None:
        namespace, name = told.dataset
        checked = {standard.ASSERTIONS: standard.assertions_facet(told.rows)} if told.rows else {}
        inputs = [{"namespace": namespace, "name": name, "facets": {}, "inputFacets": checked}]
    event = {
        "producer": facets.PRODUCER,
        "schemaURL": _SPEC,
        "job": {
            "namespace": told.namespace,
            "name": job_name(change.policy_id),
            "facets": {"jobType": standard.job_type_facet("SLA")},
        },
        "run": run,
        "inputs": inputs,
        "outputs": [],
    }
    start, end = format_time(told.at_us), format_time(told.at_us + 1)
    return (
        msgspec.json.encode({"eventType": "START", "eventTime": start, **event}),
        msgspec.json.encode({"eventType": "COMPLETE", "eventTime": end, **event}),
    )


def _run_facets(change: EvaluationChange, told: Published) -> Row:
    severity = _SEVERITIES.get(change.severity, "warn")
    found = {
        facets.SLA: facets.sla_facet(change, told.kind, told.runs[-_RUNS_AT_MOST:]),
        standard.TEST: standard.test_facet(
            change.policy_id,
            status=status_of(change.state),
            severity=severity,
            kind=told.kind,
            description=told.description or None,
            expected=_expected(change),
            actual=_amount(change.observed, change.unit),
            params={"period": change.period, "state": change.state},
        ),
        standard.TAGS: standard.tags_facet(_tags(change, told.kind)),
        standard.NOMINAL_TIME: standard.nominal_time_facet(format_time(_nominal_us(change)) or ""),
    }
    if told.blamed is not None:
        found[standard.JOB_DEPENDENCIES] = standard.blame_facet(*told.blamed)
    return found


def _tags(change: EvaluationChange, kind: str) -> dict[str, str]:
    tags = {"sla": change.policy_id, "sla_kind": kind, "sla_state": change.state}
    tags["severity"] = change.severity
    return tags if change.owner is None else {**tags, "owner": change.owner}


def _nominal_us(change: EvaluationChange) -> int:
    """Return for when it is: when it was due, or the instant that its period is."""
    if change.due_us is not None:
        return change.due_us
    try:
        return parse_time(change.period)
    except EventError:
        return change.breached_us or change.at_us


def _expected(change: EvaluationChange) -> str | None:
    if change.threshold is not None:
        return _amount(change.threshold, change.unit)
    return None if change.due_us is None else f"by {format_time(change.due_us)}"


def _amount(value: float | None, unit: str) -> str | None:
    if value is None:
        return None
    if unit == "time":
        return format_time(round(value * 1e6))
    if unit == "s":
        return format_duration(timedelta(seconds=round(value, 3)))
    return f"{value:g} {unit}".strip()


def refs_of(runs: Iterable[tuple[tuple[str, str], str | None]]) -> list[dict[str, str]]:
    """Return runs, each its job and its runId, as the facet has them."""
    return [
        {"namespace": job[0], "name": job[1], **({"runId": uuid} if uuid else {})}
        for job, uuid in runs
    ]
