"""One SLO as the promises it makes: one for each of its objectives."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.calendar import find_zone
from airflow_provenance.sla.durations import parse_duration
from airflow_provenance.sla.openslo import alerts, kept
from airflow_provenance.sla.openslo.lengths import is_by_the_calendar, parse_shorthand, shorthand
from airflow_provenance.sla.openslo.plain import PREFIX, SOURCE, length_text, name_of
from airflow_provenance.sla.openslo.write import ALMOST, LONGEST, OF_PERIODS
from airflow_provenance.sla.policy import MalformedPolicyError

if TYPE_CHECKING:
    from airflow_provenance.sla.openslo.read import Catalog

Steps = tuple[str | int, ...]
Tell = Callable[[Steps, str], None]
Plain = dict[str, Any]
_TEXTS = frozenset(
    {"id", "window", "slice", "on_failure", "zone", "expires_after", "for", "description"}
)
_AS_JSON = frozenset(
    {"target", "objective", "at_least", "min_events", "page_on_one", "runs", "calendar", "excusals"}
    | {"at_risk"}
)
_AS_THEY_ARE = ("on_failure", "runs", "zone", "calendar", "excusals", "expires_after", "at_risk")
_TARGET = ("dag", "task", "dataset", "job")


class LeftOutError(Exception):
    """An SLO that can be no promise here; the text says why."""


def promises_of(slo: Plain, catalog: Catalog, tell: Tell) -> list[Plain]:
    """Return the promises that an SLO makes, as `policy.from_plain` reads them.

    Raises:
        MalformedPolicyError: it contradicts itself, or refers to what is not there.
        LeftOutError: nothing says what of Airflow it is about.
    """
    metadata, spec = slo["metadata"], slo["spec"]
    said = _said(metadata.get("annotations", {}))
    indicator = _indicator(spec, catalog)
    target = _target(said, indicator, spec, catalog)
    window = spec.get("timeWindow", [{"duration": OF_PERIODS[1]}])[0]
    policies = [
        _alert_policy(one, number, catalog)
        for number, one in enumerate(spec.get("alertPolicies", []))
    ]
    told = alerts.told_by(
        policies, window["duration"], lambda text: tell(("spec", "alertPolicies"), text)
    )
    if kept.is_foreign(indicator) and "objective" not in said:
        kind = kept.source_of(indicator)
        text = f"the metric of {kind} is not read: what counts is runs that succeed"
        tell(("spec", "indicator" if "indicator" in spec else "indicatorRef"), text)
    shared = {
        "target": target,
        "severity": told.severity,
        "notify": list(told.notify),
        "for": _exact(said.get("for"), length_text(told.hold)),
        **{name: said[name] for name in _AS_THEY_ARE if name in said},
        **_description(said, spec),
    }
    owner = metadata.get("labels", {}).get("owner")
    if isinstance(owner, str):
        shared["owner"] = owner
    annotations = kept.of_slo(slo, indicator, policies, target, tell)
    made = []
    for number, objective in enumerate(spec["objectives"]):
        own = _promised(said, spec, objective, number, window, tell)
        more = {
            name: json.dumps(value, ensure_ascii=False)
            for name, value in [("openslo/objective", kept.of_objective(objective))]
            if value
        }
        made.append({**shared, **own, "annotations": {**annotations, **more}})
    return _with_ids(made, metadata["name"], said.get("id"), tell)


def _said(annotations: dict[str, str]) -> Plain:
    """Return what our own annotations say."""
    said: Plain = {}
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX).replace("-", "_")
        path = ("metadata", "annotations", key)
        if name in _TEXTS:
            said[name] = text
        elif name in _AS_JSON:
            try:
                said[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise MalformedPolicyError(f"{key} is no JSON: {error}", path) from error
        else:
            known = ", ".join(sorted(one.replace("_", "-") for one in _TEXTS | _AS_JSON))
            raise MalformedPolicyError(f"{key} is unknown: use one of {known}", path)
    return said


def _indicator(spec: Plain, catalog: Catalog) -> Plain:
    if "indicator" in spec:
        return dict(spec["indicator"])
    name = spec["indicatorRef"]
    if (found := catalog.find("SLI", name)) is None:
        text = f"indicatorRef {name!r} names no SLI of these files"
        raise MalformedPolicyError(text, ("spec", "indicatorRef"))
    return {"metadata": found["metadata"], "spec": found["spec"]}


def _target(said: Plain, indicator: Plain, spec: Plain, catalog: Catalog) -> Any:
    if "target" in said:
        return said["target"]
    for source in kept.sources(indicator):
        told = source["spec"]
        if source.get("type") == SOURCE and isinstance(told, dict):
            return {name: told[name] for name in _TARGET if name in told}
    service = catalog.find("Service", spec["service"])
    text = ((service or {}).get("metadata") or {}).get("annotations", {}).get(f"{PREFIX}target")
    if text is None:
        key = f"{PREFIX}target"
        raise LeftOutError(
            "nothing says what of Airflow it is about: annotate it, or its Service, as "
            f"""{key}: '{{"dag": "orders"}}'"""
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        text = f"Service {spec['service']!r}: {PREFIX}target is no JSON: {error}"
        raise MalformedPolicyError(text, ("spec", "service")) from error


def _alert_policy(one: Any, number: int, catalog: Catalog) -> Plain:
    """Return an alert policy with all that it refers to in it."""
    path = ("spec", "alertPolicies", number)
    found = one
    if isinstance(one, str) or "alertPolicyRef" in one:  # a bare name is what old tools write
        name = one if isinstance(one, str) else one["alertPolicyRef"]
        found = _found(catalog, "AlertPolicy", name, path)
    (condition,) = found["spec"]["conditions"]
    if "conditionRef" in condition:
        condition = _found(catalog, "AlertCondition", condition["conditionRef"], path)
    targets = []
    for target in found["spec"]["notificationTargets"]:
        there = catalog.find("AlertNotificationTarget", target.get("targetRef", ""))
        targets.append(_part(there or target))
    spec = {**found["spec"], "conditions": [_part(condition)], "notificationTargets": targets}
    return {**_part(found), "spec": spec}


def _part(document: Plain) -> Plain:
    return {name: value for name, value in document.items() if name != "apiVersion"}


def _found(catalog: Catalog, kind: str, name: str, path: Steps) -> Plain:
    if (found := catalog.find(kind, name)) is None:
        raise MalformedPolicyError(f"{name!r} names no {kind} of these files", path)
    return found


def _exact(exactly: str | None, rounded: str) -> str:
    """Return a length as an annotation has it, while OpenSLO still has what that rounds to."""
    if exactly is None:
        return rounded
    lengths = [shorthand(parse_duration(one)) for one in (exactly, rounded)]
    return exactly if lengths[0] == lengths[1] else rounded


def _description(said: Plain, spec: Plain) -> Plain:
    text = spec.get("description", "")
    if said.get("description", "")[:LONGEST] == text:
        text = said.get("description", "")
    return {"description": text} if text else {}


def _promised(
    said: Plain, spec: Plain, objective: Plain, number: int, window: Plain, tell: Tell
) -> Plain:
    """Return the objective that an SLO promises, and the zone of its windows."""
    path = ("spec", "objectives", number)
    at_least = objective.get("target", round(objective.get("targetPercent", 0) / 100, 12))
    if "objective" in said:
        if (at_least, window["duration"], spec["budgetingMethod"]) != (*OF_PERIODS, "Occurrences"):
            kind = said["objective"].get("kind") if isinstance(said["objective"], dict) else "it"
            text = f"{kind} is judged period by period: target and window are not taken over"
            tell(path, text)
        return {"objective": said["objective"]}
    if at_least == ALMOST and isinstance(said.get("at_least"), int | float):
        at_least = max(said["at_least"], ALMOST)
    made = {"kind": "success_ratio", "at_least": at_least}
    made.update({name: said[name] for name in ("min_events", "page_on_one") if name in said})
    if spec["budgetingMethod"] != "Occurrences":
        size = objective["timeSliceWindow"]
        length = timedelta(minutes=size) if isinstance(size, int | float) else parse_shorthand(size)
        made["slice"] = _exact(said.get("slice"), length_text(length))
        if spec["budgetingMethod"] == "Timeslices":
            made["slice_at_least"] = objective["timeSliceTarget"]
    return {"objective": made, **_window(made, said, spec, window, tell)}


def _window(made: Plain, said: Plain, spec: Plain, window: Plain, tell: Tell) -> Plain:
    """Add the window; return the zone, where it has one."""
    path, length = ("spec", "timeWindow"), window["duration"]
    if calendar := window.get("calendar"):
        made["aligned"] = {"start": calendar["startTime"].replace(" ", "T"), "every": length}
        if "window" in said:
            made["window"] = said["window"]
        try:
            find_zone(calendar["timeZone"])
        except PolicyError as error:
            at = (*path, 0, "calendar", "timeZone")
            raise MalformedPolicyError(f"timeZone: {error}", at) from error
        return {"zone": calendar["timeZone"]}
    made["window"] = _exact(said.get("window"), length_text(parse_shorthand(length)))
    if "timeWindow" not in spec:
        tell((), f"it has no timeWindow: {length} are read")
    elif window.get("isRolling") is False:
        tell(path, "its window neither rolls nor has a calendar: it is read as rolling")
    if is_by_the_calendar(length):
        days = parse_shorthand(length).days
        tell(path, f"a rolling window of {length} is read as {days} days")
    return {}


def _with_ids(made: list[Plain], name: str, said: Any, tell: Tell) -> list[Plain]:
    slug = kept.id_of(name)
    if said is not None and name_of(said) == name:
        slug = said
    elif slug != name:
        tell(("metadata", "name"), f"name {name!r} is read as id {slug!r}")
    if len(made) == 1:
        if name_of(slug) != name:
            made[0]["annotations"]["openslo/name"] = name
        return [{"id": slug, **made[0]}]
    tell(("spec", "objectives"), f"its {len(made)} objectives are read as a promise each")
    return [{"id": f"{slug}-{number}", **one} for number, one in enumerate(made, 1)]
