"""One notice per cause: what is broken upstream absorbs what is broken downstream of it.

An alert absorbs another where the data of what it is about flows into what the other is about, it
is of a kind that can explain the other (`explains`), and it is not of less severity: a ticket must
not keep a page from anybody. Whoever was told already is not untold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is wrong with data; all other kinds are about runs that are late, fail or never were.
OF_DATA = frozenset({"data_quality", "completeness", "volume", "schema_contract"})
# Whether what one alert is about can be the cause of another one, downstream of it.
Explains = Callable[[Alert, Alert], bool]
# Of these targets, those upstream of what an alert is about.
Upstream = Callable[[Alert, Collection[str]], frozenset[str]]


def nothing_upstream(_alert: Alert, _targets: Collection[str]) -> frozenset[str]:
    """Return that no lineage is known."""
    return frozenset()


def explains(above: str | None, below: str | None) -> bool:
    """Return whether a breach of one kind can be why one of another kind is broken downstream.

    A run that is late leaves rows out, but makes no value bad and changes no column; bad values
    stop runs, but take no rows away; money is lost for many reasons.

    >>> explains("deadline", "volume"), explains("duration", "data_quality")
    (True, False)
    >>> explains("data_quality", "deadline"), explains("data_quality", "completeness")
    (True, False)
    """
    if above is None or below is None:  # of another release
        return True
    if "cost" in (above, below):
        return above == below
    if above == "data_quality":
        return below not in ("completeness", "volume", "schema_contract")
    return above in OF_DATA or below not in ("data_quality", "schema_contract")


def everything(_above: Alert, _below: Alert) -> bool:
    """Return that any alert can explain any other."""
    return True


def absorb(
    alerts: Mapping[str, Alert],
    told: Collection[str],
    upstream: Upstream,
    now_us: int,
    grace_us: int,
    can_explain: Explains = everything,
) -> dict[str, Alert]:
    """Return the alerts, each with the one that absorbs it.

    Args:
        alerts: all there are, by fingerprint.
        told: fingerprints of those that people know of.
        upstream: the lineage.
        now_us: now.
        grace_us: how long what is downstream may take to recover once the upstream has.
        can_explain: whether an alert upstream may be the cause of one downstream.
    """
    active = {
        key: one
        for key, one in alerts.items()
        if one.ended_us is None and not one.is_suspended  # a pause is nobody's fault upstream
    }
    parents = _parents(active, upstream, can_explain)
    made = dict(alerts)
    for key, one in active.items():
        root = None if key in told else _root(key, parents, active)
        if root is not None:
            made[key] = msgspec.structs.replace(
                one, absorbed_by=root, absorbed_until_us=now_us + grace_us
            )
        elif one.absorbed_by is not None:
            made[key] = _left(
                one,
                alerts.get(one.absorbed_by),
                is_told=key in told,
                now_us=now_us,
                grace_us=grace_us,
            )
    return made


def _left(one: Alert, root: Alert | None, *, is_told: bool, now_us: int, grace_us: int) -> Alert:
    """Return an alert whose cause upstream is over: for a while it may recover by itself."""
    until_us = one.absorbed_until_us
    if root is not None and root.ended_us is not None:
        until_us = max(until_us, root.ended_us + grace_us)
    is_free = is_told or now_us >= until_us
    return msgspec.structs.replace(
        one, absorbed_by=None if is_free else one.absorbed_by, absorbed_until_us=until_us
    )


def _parents(
    active: Mapping[str, Alert], upstream: Upstream, can_explain: Explains
) -> dict[str, set[str]]:
    by_target: dict[str, list[Alert]] = {}
    for one in active.values():
        by_target.setdefault(one.change.target, []).append(one)
    if len(by_target) < 2:
        return {}
    parents: dict[str, set[str]] = {}
    for key, one in active.items():
        others = by_target.keys() - {one.change.target}
        above = [each for target in upstream(one, others) & others for each in by_target[target]]
        found = {
            each.fingerprint
            for each in above
            if _weight(each) >= _weight(one) and can_explain(each, one)
        }
        if found:
            parents[key] = found
    return parents


def _weight(alert: Alert) -> tuple[bool, bool]:
    return alert.change.severity == "page", alert.change.state == "breached"


def _root(key: str, parents: Mapping[str, set[str]], active: Mapping[str, Alert]) -> str | None:
    """Return the alert at the top of what is upstream; None where this is one itself.

    Where the data flows in a circle, the first to break is the top of it.
    """
    seen, waiting = {key}, [key]
    while waiting:
        for one in parents.get(waiting.pop(), ()):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    tops = [one for one in seen if one not in parents] or list(seen)
    root = min(tops, key=lambda one: (active[one].began_us, one))
    # Another period of the same promise is no cause.
    is_same = active[root].change.policy_id == active[key].change.policy_id
    return None if is_same else root
