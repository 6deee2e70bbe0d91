"""What an SLO says that a promise has no place for, kept in the promise's annotations.

`write` puts it back. Nothing that looks like a secret is kept: promises are stored and shown.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_provenance.sla.openslo import alerts
from airflow_provenance.sla.openslo.plain import PREFIX, SOURCE, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Plain = dict[str, Any]
_SECRET = re.compile(
    r"secret|passw|token|credential|auth|(access|api|private|signing).*key", re.IGNORECASE
)
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]+")


def of_slo(
    slo: Plain,
    indicator: Plain,
    policies: list[Plain],
    target: Any,
    tell: Callable[[tuple[str | int, ...], str], None],
) -> dict[str, str]:
    """Return annotations of a promise: those of others, and ``openslo/...`` for the rest."""
    metadata, spec = slo["metadata"], slo["spec"]
    kept = {
        name: text
        for name, text in metadata.get("annotations", {}).items()
        if not name.startswith((PREFIX, "openslo/"))
    }
    if "displayName" in metadata:
        kept["openslo/display-name"] = metadata["displayName"]
    labels = dict(metadata.get("labels", {}))
    if isinstance(labels.get("owner"), str):
        del labels["owner"]
    if labels:
        kept["openslo/labels"] = _json(labels)
    if isinstance(target, dict) and spec["service"] != service_name(target):
        kept["openslo/service"] = spec["service"]
    if is_foreign(indicator):
        where = ("spec", "indicator" if "indicator" in spec else "indicatorRef")
        clean = _without_secrets(
            indicator, lambda name: tell(where, f"{name} is not kept: it looks like a secret")
        )
        kept["openslo/indicator"] = _json(clean)
    elif indicator["metadata"].keys() - {"name"} or "description" in indicator["spec"]:
        tell(("spec", "indicator"), "the indicator's own names and description are not taken over")
    window = spec.get("timeWindow", [{"duration": "30d"}])[0]["duration"]
    if not alerts.is_all_ours(policies, window):
        kept[alerts.KEPT] = _json(policies)
    return kept


def of_objective(objective: Plain) -> Plain:
    """Return what of an objective is for people, or for metrics that are not read."""
    return {name: objective[name] for name in ("displayName", "op", "value") if name in objective}


def sources(indicator: Plain) -> Iterator[Plain]:
    """Give all metric sources of an indicator."""
    spec = indicator["spec"]
    ratio = spec.get("ratioMetric", {})
    for one in (spec.get("thresholdMetric"), *map(ratio.get, ("good", "bad", "total", "raw"))):
        if one is not None:
            yield one["metricSource"]


def is_foreign(indicator: Plain) -> bool:
    """Whether any of it reads what we do not have."""
    return any(one.get("type") != SOURCE for one in sources(indicator))


def source_of(indicator: Plain) -> str:
    """Return where an indicator reads its metric."""
    for one in sources(indicator):
        if told := one.get("type") or one.get("metricSourceRef"):
            return str(told)
    return "another system"


def service_name(target: Plain) -> str:
    """Return the service that a target is of."""
    return name_of(str(target.get("dag") or target.get("dataset") or target.get("job") or ""))


def id_of(name: str) -> str:
    """Return an id for a name of OpenSLO."""
    return _NOT_IN_ID.sub("-", name)[:200].rstrip("-")


def _without_secrets(value: Any, tell: Callable[[str], None]) -> Any:
    if isinstance(value, list):
        return [_without_secrets(one, tell) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, one in value.items():
        if _SECRET.search(name) and not isinstance(one, dict | list):
            tell(name)
        else:
            made[name] = _without_secrets(one, tell)
    return made


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
