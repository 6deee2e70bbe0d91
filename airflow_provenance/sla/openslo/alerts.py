"""Alert policies: who is told of a promise, how urgent it is and how long it must be broken first.

Ours is told when the budget of its window is spent: that it burns faster than 1, over its window.
Conditions on other burn rates and windows are kept as they are, and told.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.openslo.lengths import parse_shorthand, shorthand
from airflow_provenance.sla.openslo.plain import PREFIX, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provenance.sla.policy import Policy, Severity

KEPT = "openslo/alert-policies"
_ROUTE = f"{PREFIX}route"
_BY_MATCHERS = "by-matchers"  # the target of a promise that names no route
_DESCRIPTION = "Told when the budget of its window is spent, and when it is well again."
_PAGES = {"page", "critical", "high", "emergency", "sev0", "sev1", "p0", "p1"}
Inline = dict[str, Any]


class Told(NamedTuple):
    """What alert policies say of a promise."""

    severity: Severity = "ticket"
    notify: tuple[str, ...] = ()
    hold: timedelta = timedelta(0)


def told_by(policies: Sequence[Inline], window: str, tell: Callable[[str], None]) -> Told:
    """Return what alert policies say; ``tell`` what of them is not taken over."""
    if not policies:
        return Told()
    severities: list[Severity] = []
    notify: dict[str, None] = {}
    holds = []
    for one in policies:
        name, spec = one["metadata"]["name"], one["spec"]
        for flag, is_ours in (("Breaching", True), ("Resolved", True), ("NoData", False)):
            if spec.get(f"alertWhen{flag}", is_ours) != is_ours:
                says = "always" if is_ours else "never"
                tell(f"alert policy {name!r}: alertWhen{flag} is not taken over: it is {says} told")
        for target in spec["notificationTargets"]:
            if (route := _route(target, tell)) is not None:
                notify[route] = None
        (condition,) = spec["conditions"]
        said = condition["spec"]
        severity = said["severity"]
        severities.append("page" if severity.lower() in _PAGES else "ticket")
        if severity != severities[-1]:
            tell(f"alert policy {name!r}: severity {severity!r} is read as {severities[-1]!r}")
        burn = said["condition"]
        holds.append(parse_shorthand(burn.get("alertAfter", "0m")))
        if burn["threshold"] != 1 or not _is_same(burn["lookbackWindow"], window):
            tell(
                f"alert policy {name!r}: a burn rate above {burn['threshold']:g} over "
                f"{burn['lookbackWindow']} is not taken over"
            )
    return Told("page" if "page" in severities else "ticket", tuple(notify), min(holds))


def _is_same(length: str, window: str) -> bool:
    return length == window or parse_shorthand(length) == parse_shorthand(window)


def _route(target: Inline, tell: Callable[[str], None]) -> str | None:
    if "targetRef" in target:  # nothing in these files says more of it
        return str(target["targetRef"])
    name = str(target["metadata"]["name"])
    route = target["metadata"].get("annotations", {}).get(_ROUTE)
    if route is None:
        how = target["spec"]["target"]
        tell(f"target {name!r}: that it is {how!r} is not taken over: [provenance] routes say it")
        return name
    return route or None


def is_all_ours(policies: Sequence[Inline], window: str) -> bool:
    """Whether these are what `write_alerts` would write of what they say, so that none is kept."""
    lost: list[str] = []
    told_by(policies, window, lost.append)
    return not lost and [one["spec"].get("description") for one in policies] == [_DESCRIPTION]


def write_alerts(policy: Policy, window: str) -> list[dict[str, Any]]:
    """Return the documents of a promise's alerts; the first ones are its alert policies."""
    kept = kept_alerts(policy)
    if kept is not None and told_by(kept, window, lambda _: None) == _told(policy):
        return [{"apiVersion": "openslo/v1", **one} for one in kept]
    after = shorthand(policy.hold)
    routes = policy.notify or (_BY_MATCHERS,)
    name = name_of("-".join((policy.severity, *routes, window, after)))
    condition = {
        "kind": "burnrate",
        "threshold": 1,
        "lookbackWindow": window,
        "alertAfter": after,
    }
    targets = [_target(one) for one in policy.notify] or [_target("")]
    return [
        {
            "apiVersion": "openslo/v1",
            "kind": "AlertPolicy",
            "metadata": {"name": name},
            "spec": {
                "description": _DESCRIPTION,
                "alertWhenNoData": False,
                "alertWhenResolved": True,
                "alertWhenBreaching": True,
                "conditions": [
                    {
                        "kind": "AlertCondition",
                        "metadata": {"name": name},
                        "spec": {"severity": policy.severity, "condition": condition},
                    }
                ],
                "notificationTargets": [{"targetRef": one["metadata"]["name"]} for one in targets],
            },
        },
        *targets,
    ]


def _told(policy: Policy) -> Told:
    return Told(policy.severity, policy.notify, parse_shorthand(shorthand(policy.hold)))


def kept_alerts(policy: Policy) -> list[Inline] | None:
    """Return the alert policies that were kept when it was imported."""
    try:
        kept = json.loads(policy.annotations[KEPT])
        told_by(kept, "30d", lambda _: None)
    except (ValueError, TypeError, LookupError, AttributeError, PolicyError):
        return None  # none, or somebody wrote something else there
    return list(kept)


def _target(route: str) -> dict[str, Any]:
    text = f"The route {route!r}" if route else "The routes whose matchers it meets"
    # A route may have the name that stands for none.
    name = _BY_MATCHERS if not route else f"{route}." if route == _BY_MATCHERS else route
    return {
        "apiVersion": "openslo/v1",
        "kind": "AlertNotificationTarget",
        "metadata": {"name": name_of(name), "annotations": {_ROUTE: route}},
        "spec": {
            "target": "airflow-provenance",
            "description": f"{text} of [provenance] routes"[:1050],
        },
    }
