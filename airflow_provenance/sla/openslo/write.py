"""Promises as OpenSLO documents: a Service for what each is about, its SLO, and who is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.objectives import SuccessRatio
from airflow_provenance.sla.openslo import alerts
from airflow_provenance.sla.openslo.documents import Document
from airflow_provenance.sla.openslo.kept import id_of, service_name
from airflow_provenance.sla.openslo.lengths import parse_shorthand, shorthand
from airflow_provenance.sla.openslo.plain import PREFIX, SOURCE, annotation, name_of, plain_of
from airflow_provenance.sla.openslo.schema import check
from airflow_provenance.sla.openslo.text import documents_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from airflow_provenance.sla.policy import Policy, Target

KEPT = "openslo/"
"""What annotations of a promise begin with that hold what `read` had no place for."""
ALMOST = 0.99999
"""OpenSLO's targets are below 1; of a promise that allows no failure this is written."""
OF_PERIODS = (0.99, "30d")
"""Target and window of what is no ratio: with fewer than 100 periods none may be missed."""
LONGEST = 1050
NATIVE = frozenset(
    {"id", "target", "objective", "severity", "owner", "notify", "for", "description"}
    | {"annotations"}
)


def openslo_text(policies: Iterable[Policy]) -> str:
    """Return promises as one file of OpenSLO documents."""
    return documents_text(openslo_documents(policies))


def openslo_documents(policies: Iterable[Policy]) -> list[dict[str, Any]]:
    """Return promises as OpenSLO documents; what several share is there once."""
    shared: dict[tuple[str, str], dict[str, Any]] = {}
    slos = []
    for policy in policies:
        slo = _slo(policy)
        service = slo["spec"]["service"]
        if service == _service_name(policy.target):
            _share(shared, _service(policy.target))
        references = []
        for one in alerts.write_alerts(policy, window_text(policy)):
            _check(policy, one)
            name = _share(shared, one)
            if one["kind"] == "AlertPolicy":
                references.append({"alertPolicyRef": name})
        slo["spec"]["alertPolicies"] = references
        _check(policy, slo)
        slos.append(slo)
    return [*shared.values(), *slos]


def _check(policy: Policy, document: dict[str, Any]) -> None:
    """Refuse what no tool would take: what was kept of an SLO can be written by anybody."""
    wrong, unknown = check(Document("", document, {}))
    for one in (*wrong, *unknown):
        text = f"annotations: with {KEPT}... of them its document is none: {one.reason}"
        raise PolicyError(f"{policy.id}: {text}")


def _share(shared: dict[tuple[str, str], dict[str, Any]], document: dict[str, Any]) -> str:
    """Add a document that may be there; give it another name where that is taken by another."""
    name = document["metadata"]["name"]
    while shared.setdefault((document["kind"], name), document) != document:
        name = name_of(f"{name}_{json.dumps(document, sort_keys=True)}"[:2000])
        document = {**document, "metadata": {**document["metadata"], "name": name}}
    return str(name)


def _slo(policy: Policy) -> dict[str, Any]:
    kept = {
        name.removeprefix(KEPT): value
        for name, value in policy.annotations.items()
        if name.startswith(KEPT)
    }
    metadata: dict[str, Any] = {"name": _name(policy, kept)}
    if "display-name" in kept:
        metadata["displayName"] = kept["display-name"]
    labels = _kept_object(kept, "labels")
    if policy.owner is not None:
        labels["owner"] = policy.owner
    if labels:
        metadata["labels"] = labels
    indicator = _kept_object(kept, "indicator")
    if more := _annotations(policy, is_foreign=bool(indicator)):
        metadata["annotations"] = more
    spec = {
        **({"description": policy.description[:LONGEST]} if policy.description else {}),
        "service": kept.get("service") or _service_name(policy.target),
        "indicator": indicator or _indicator(policy),
        "timeWindow": [_window(policy)],
        **_budget(policy, _kept_object(kept, "objective")),
    }
    return {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": metadata, "spec": spec}


def _name(policy: Policy, kept: dict[str, str]) -> str:
    """Return the name it had, while its id is the one that this was read as."""
    name = kept.get("name", "")
    return name if name and id_of(name) == policy.id else name_of(policy.id)


def _kept_object(kept: dict[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(kept.get(name, "{}"))
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _annotations(policy: Policy, *, is_foreign: bool) -> dict[str, str]:
    plain, promised = plain_of(policy), policy.objective
    said = {name: value for name, value in plain.items() if name not in NATIVE}
    if policy.annotations.get("openslo/name") is None and name_of(policy.id) != policy.id:
        said["id"] = policy.id
    if is_foreign:
        said["target"] = plain["target"]
    if len(policy.description) > LONGEST:
        said["description"] = policy.description
    if not _is_whole(policy.hold):
        said["for"] = plain["for"]
    if isinstance(promised, SuccessRatio):
        said.update(_of_ratio(promised, plain["objective"]))
        if promised.aligned is not None:
            said.pop("zone", None)  # that of its time window
    else:
        said["objective"] = plain["objective"]
    ours = {f"{PREFIX}{name.replace('_', '-')}": annotation(value) for name, value in said.items()}
    others = {name: one for name, one in policy.annotations.items() if not name.startswith(KEPT)}
    return {**others, **ours}


def _of_ratio(promised: SuccessRatio, plain: dict[str, Any]) -> dict[str, Any]:
    """Return what of a success ratio OpenSLO does not say, or not exactly."""
    names = ["min_events", "page_on_one"]
    if promised.at_least > ALMOST:
        names.append("at_least")
    if promised.aligned is not None or not _is_whole(promised.window):
        names.append("window")
    if promised.slice is not None and not _is_whole(promised.slice):
        names.append("slice")
    return {name: plain[name] for name in names if name in plain}


def _is_whole(length: timedelta) -> bool:
    return parse_shorthand(shorthand(length)) == length


def window_text(policy: Policy) -> str:
    """Return how long its window is, as OpenSLO writes it."""
    promised = policy.objective
    if not isinstance(promised, SuccessRatio):
        return OF_PERIODS[1]
    return shorthand(promised.window) if promised.aligned is None else promised.aligned.every


def _window(policy: Policy) -> dict[str, Any]:
    promised, length = policy.objective, window_text(policy)
    if not isinstance(promised, SuccessRatio) or promised.aligned is None:
        return {"duration": length, "isRolling": True}
    calendar = {"startTime": promised.aligned.start.replace("T", " "), "timeZone": policy.zone}
    return {"duration": length, "isRolling": False, "calendar": calendar}


def _budget(policy: Policy, kept: dict[str, Any]) -> dict[str, Any]:
    promised = policy.objective
    if not isinstance(promised, SuccessRatio):
        return {"budgetingMethod": "Occurrences", "objectives": [{**kept, "target": OF_PERIODS[0]}]}
    made: dict[str, Any] = {**kept, "target": min(promised.at_least, ALMOST)}
    method = "Occurrences"
    if promised.slice is not None:
        method = "RatioTimeslices"
        if promised.slice_at_least is not None:
            method, made["timeSliceTarget"] = "Timeslices", promised.slice_at_least
        made["timeSliceWindow"] = shorthand(promised.slice)
    return {"budgetingMethod": method, "objectives": [made]}


def _indicator(policy: Policy) -> dict[str, Any]:
    is_ratio = isinstance(policy.objective, SuccessRatio)
    good, total = ("runs that succeeded", "runs that ended") if is_ratio else ("kept", "periods")
    target = plain_of(policy)["target"]
    metrics = {
        name: {"metricSource": {"type": SOURCE, "spec": {**target, "count": what}}}
        for name, what in (("good", good), ("total", total))
    }
    return {
        "metadata": {"name": name_of(policy.id)},
        "spec": {"ratioMetric": {"counter": False, **metrics}},
    }


def _service_name(target: Target) -> str:
    return service_name({"dag": target.dag, "dataset": target.dataset, "job": target.job})


def _service(target: Target) -> dict[str, Any]:
    kind = "dag" if target.dag is not None else target.kind
    name = target.dag or target.dataset or target.job or ""
    return {
        "apiVersion": "openslo/v1",
        "kind": "Service",
        "metadata": {
            "name": _service_name(target),
            "annotations": {f"{PREFIX}target": annotation({kind: name})},
        },
        "spec": {},
    }
