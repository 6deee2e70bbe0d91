"""A task's rendered template fields, as Airflow shows them, but SQL without its literals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.emit.patterns import MASK
from airflow_provenance.emit.values import shape_of
from airflow_provenance.formats.sql_literals import without_literals

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from airflow_provenance.emit.redact import Redactor

_SQL_FIELDS = frozenset({"sql", "hql", "bql", "statements"})
# What operators name their values for placeholders.
_PARAMETERS = frozenset({"parameters", "sql_parameters", "query_params", "query_parameters"})


def rendered_fields(task: Any, redactor: Redactor, removed: Counter[str]) -> dict[str, Any]:
    """Return the template fields: serialised, masked and cut by Airflow, without values of data.

    Args:
        task: the operator, rendered.
        redactor: says whether values may leave.
        removed: how many literals and values were taken out is added there.
    """
    if not task.template_fields:
        return {}
    # Not public, but nothing else gives what Airflow shows. Its `_serialize_rendered_fields` does
    # the same, and builds a validator for every field, which takes longer than all the rest.
    from airflow.sdk._shared.secrets_masker import redact
    from airflow.sdk.execution_time.task_runner import _serialize_template_field

    dotted = [path for path in _renderers(task) if path.partition(".")[0] in task.template_fields]
    rendered = {}
    for path in (*task.template_fields, *(one for one in dotted if "." in one)):
        value = _value_at(task, path)
        if value is not None or path in task.template_fields:
            rendered[path] = redact(_serialize_template_field(value, path), path)
    return rendered if redactor.keeps_values else without_data(rendered, task, removed)


def without_data(rendered: Mapping[str, Any], task: Any, removed: Counter[str]) -> dict[str, Any]:
    """Return rendered fields without the literals of SQL and without bind parameters."""
    kept, renderers = dict(rendered), _renderers(task)
    paths = {
        *(_SQL_FIELDS & kept.keys()),
        *(path for path in renderers if _is_sql(renderers[path])),
    }
    for path in sorted(paths & kept.keys()):
        base, *rest = path.split(".")
        # Not what Airflow has serialised: what is too long it cuts and quotes as Python does.
        kept[path] = _without_literals(_value_at(task, path), removed)
        if rest and base in kept:
            kept[base] = _with_part(kept[base], rest, kept[path])
    if paths:
        for name in _PARAMETERS & kept.keys():
            kept[name] = shape_of(getattr(task, name, kept[name]), removed)
    return kept


def _renderers(task: Any) -> Mapping[str, Any]:
    return getattr(task, "template_fields_renderers", None) or {}


def _value_at(task: Any, path: str) -> Any:
    """Return a field, or with dots in its name a part of one."""
    base, *rest = path.split(".")
    value = getattr(task, base, None)
    for name in rest:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


def _is_sql(renderer: Any) -> bool:
    # Airflow's lexers: sql, mysql, postgresql, tsql, hql and the like.
    return isinstance(renderer, str) and renderer.endswith(("sql", "hql"))


def _without_literals(value: Any, removed: Counter[str]) -> Any:
    if isinstance(value, str):
        text, count = without_literals(value)
        removed["literal"] += count
        return text
    if isinstance(value, list | tuple):
        return [_without_literals(one, removed) for one in value]
    if isinstance(value, dict):
        return {key: _without_literals(one, removed) for key, one in value.items()}
    return value if value is None else MASK


def _with_part(holder: Any, path: list[str], part: Any) -> Any:
    """Return a field with one part of it replaced; one that Airflow has cut is not kept."""
    if not path:
        return part
    if not isinstance(holder, dict):
        return MASK
    return {**holder, path[0]: _with_part(holder.get(path[0]), path[1:], part)}
