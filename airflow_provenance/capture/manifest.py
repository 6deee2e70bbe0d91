"""The manifest of a task run: with which code, environment and parameters it ran, and where.

================  ================================================================================
``code``          DAG, task, DAG version, bundle, DAG file and its hash, git commit, operator
``environment``   Python, Airflow, platform, hash of all that is installed, time zone, locale
``parameters``    params, conf and rendered template fields, without secrets and bounded in size;
                  ids of connections
``placement``     host, process, queue, pool, try: volatile, so not part of the manifest's hash
================  ================================================================================

What cannot be found out is absent, and ``absent`` says why. Texts are redacted before they are cut,
since half a secret is not recognised as one; the hash is taken when the event is spooled, over
what redaction has left (`emit.enrich.seal`), so that nobody can guess a secret from it.
"""

from __future__ import annotations

import hashlib
import json
import locale
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings
from airflow_provenance.capture import git, installed
from airflow_provenance.capture.rendered import rendered_fields
from airflow_provenance.emit.notes import ManifestNotes
from airflow_provenance.emit.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_VALUE_CHARS = 4096  # one parameter; as `[core] max_templated_field_length` is by default
_MAX_GROUP_CHARS = 65_536  # all params, all conf, or all rendered fields
_MAX_NODES = 20_000
_MAX_DEPTH = 20
_MAX_DAG_FILE_BYTES = 8 << 20
_MAX_REASON_CHARS = 200
_INT64 = 1 << 63
# What Airflow puts before the name of the module that it makes of a DAG file.
_DAG_MODULE = re.compile(r"^unusual_prefix_[0-9a-f]{40}_")


class _UnknownError(Exception):
    """Something that is rightly absent; its text is the reason."""


def manifest_of(task_instance: Any) -> ManifestNotes:
    """Return the manifest of a task instance in its own process. Raises nothing."""
    built = ManifestNotes()
    build = _Builder(built, task_instance)
    for part in (build.ask_git, build.code, build.environment, build.parameters, build.placement):
        build.attempt(part.__name__, part)
    return built


class _Builder:
    """Fills in one manifest; each part by itself, so that one that fails costs no other."""

    def __init__(self, built: ManifestNotes, task_instance: Any) -> None:
        self._built, self._ti = built, task_instance

    def attempt(self, path: str, get: Callable[[], Any]) -> Any:
        """Return what `get` returns; if it raises, None, and note why."""
        try:
            return get()
        except _UnknownError as reason:
            self._built.absent[path] = str(reason)
        except Exception as error:  # noqa: BLE001 - a part that fails must not cost the others
            text = Redactor().message(" ".join(f"{type(error).__name__}: {error}".split()))
            self._built.absent[path] = text[:_MAX_REASON_CHARS]
        return None

    def _put(self, group: str, **members: Callable[[], Any]) -> None:
        holder: dict[str, Any] = getattr(self._built, group)
        for name, get in members.items():
            value = self.attempt(f"{group}.{name}", get)
            if value is not None:
                holder[name] = value

    def ask_git(self) -> None:
        """Ask first, so that git runs beside all the rest; its answer is taken with an event."""
        self._built.git = self.attempt("code.git", lambda: git.Question(self._dag_file()))

    def code(self) -> None:
        ti = self._ti
        self._put(
            "code",
            dagId=lambda: ti.dag_id,
            taskId=lambda: ti.task_id,
            dagVersionId=lambda: _text(ti.dag_version_id),
            dagVersionNumber=_not_told,
            bundleName=lambda: _text(self._bundle().name),
            bundleVersion=lambda: _text(self._bundle().version),
            dagFile=self._dag_file_in_bundle,
            dagFileSha256=self._dag_file_hash,
            operator=self._operator,
            operatorDistribution=self._operator_distribution,
        )

    def environment(self) -> None:
        dependencies = installed.dependency_list()
        self._built.dependencies = dependencies
        self._put(
            "environment",
            python=platform.python_version,
            implementation=platform.python_implementation,
            airflow=_airflow_version,
            system=platform.system,
            machine=platform.machine,
            dependenciesHash=lambda: installed.dependencies_hash(dependencies),
            timezone=lambda: os.environ.get("TZ") or "/".join(dict.fromkeys(time.tzname)),
            locale=lambda: locale.setlocale(locale.LC_ALL),
            hashSeed=lambda: os.environ.get("PYTHONHASHSEED"),
            image=_image,
        )

    def parameters(self) -> None:
        context = self._ti.get_template_context()
        # Read once for the task: each of its forks would read the settings anew.
        self._built.redactor = redactor = Redactor.configured()
        removed = self._built.removed
        for name, get in (
            ("params", lambda: _dumped(context["params"])),
            ("conf", lambda: context["dag_run"].conf),
            ("rendered", lambda: rendered_fields(self._ti.task, redactor, removed)),
        ):
            values = self.attempt(f"parameters.{name}", get)
            if values is not None:
                plain, found = redactor.redact_foreign(_Plain().members(values))
                removed.update(found)
                self._built.parameters[name] = self._bounded(plain, f"parameters.{name}")
        self._put("parameters", connections=lambda: _connection_ids(self._ti.task) or None)

    def placement(self) -> None:
        ti = self._ti
        self._put(
            "placement",
            hostname=lambda: _text(ti.hostname),
            pid=os.getpid,
            kernel=platform.release,
            queue=lambda: _text(getattr(ti, "queue", None) or ti.task.queue),
            pool=lambda: _text(ti.task.pool),
            executor=lambda: _text(ti.task.executor) or _default_executor(),
            tryNumber=lambda: ti.try_number,
            mapIndex=lambda: -1 if ti.map_index is None else ti.map_index,
        )

    def _dag_file(self) -> str:
        return str(self._ti.task.dag.fileloc)

    def _bundle(self) -> Any:
        bundle = getattr(self._ti, "bundle_instance", None)
        if bundle is None:
            raise _UnknownError("run without a bundle, as 'airflow dags test' does")
        return bundle

    def _dag_file_in_bundle(self) -> str:
        relative = getattr(self._ti.task.dag, "relative_fileloc", None)
        if relative:
            return str(relative)
        file, bundle = Path(self._dag_file()), Path(self._bundle().path)
        for holder, one in ((bundle, file), (bundle.resolve(), file.resolve())):
            if one.is_relative_to(holder):
                return one.relative_to(holder).as_posix()
        raise _UnknownError("the DAG file is not in its bundle")

    def _dag_file_hash(self) -> str:
        file = Path(self._dag_file())
        if not file.is_file():
            raise _UnknownError("the DAG file is not a file of its own")
        with file.open("rb") as opened:
            content = opened.read(_MAX_DAG_FILE_BYTES + 1)
        if len(content) > _MAX_DAG_FILE_BYTES:
            raise _UnknownError(f"the DAG file is larger than {_MAX_DAG_FILE_BYTES} bytes")
        return hashlib.sha256(content).hexdigest()

    def _operator(self) -> str:
        operator = type(self._ti.task)
        return f"{_DAG_MODULE.sub('', operator.__module__)}.{operator.__qualname__}"

    def _operator_distribution(self) -> dict[str, str]:
        found = installed.distribution_of(type(self._ti.task).__module__)
        if found is None:
            raise _UnknownError("the operator is not part of an installed distribution")
        return {"name": found.name, "version": found.version}

    def _bounded(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        """Return the values, the large ones cut, and as many as there is room for."""
        kept: dict[str, Any] = {}
        room = _MAX_GROUP_CHARS
        for name in sorted(values):
            value = values[name]
            text = value if isinstance(value, str) else _to_json(value)
            if len(text) > _MAX_VALUE_CHARS:
                self._built.absent[f"{path}.{name[:_MAX_REASON_CHARS]}"] = (
                    f"cut to {_MAX_VALUE_CHARS} of {len(text)} characters"
                )
                value = text = f"{text[:_MAX_VALUE_CHARS]}..."
            room -= len(text) + len(name)
            if room < 0:
                self._built.absent[path] = f"only {len(kept)} of {len(values)} are kept: too large"
                break
            kept[name] = value
        return kept


class _Plain:
    """Turns values of any type into what JSON has, the same in every process."""

    def __init__(self) -> None:
        self._nodes = 0

    def members(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        return {str(key): self._value(value, 1) for key, value in values.items()}

    def _value(self, value: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            return "<too large>"
        if isinstance(value, Enum):
            return self._value(value.value, depth + 1)
        if isinstance(value, Mapping):
            return {str(key): self._value(one, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(one, depth + 1) for one in value]
        if isinstance(value, set | frozenset):
            return sorted((self._value(one, depth + 1) for one in value), key=_to_json)
        return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    # Not its text: that may hold an address in memory, which differs in every process.
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _dumped(params: Any) -> Any:
    return params.dump() if hasattr(params, "dump") else dict(params)


def _not_told() -> str:
    raise _UnknownError("Airflow tells a task the id of its DAG version only; see the DAG run")


def _image() -> str:
    if not (image := settings.image()):
        raise _UnknownError("[provenance] image is not set")
    return image


def _connection_ids(task: Any) -> dict[str, str]:
    """Return the ids of connections that the operator was given, by its attributes; ids only."""
    return {
        name: value
        for name, value in sorted(vars(task).items())
        if name.endswith("conn_id") and isinstance(value, str) and value
    }


def _default_executor() -> str | None:
    from airflow.sdk.configuration import conf

    value = conf.get("core", "executor", fallback=None)
    return _text(value)


def _airflow_version() -> str:
    known = installed.distributions()
    found = known.get("apache-airflow-core") or known.get("apache-airflow")
    if found is None:
        raise _UnknownError("Airflow is not an installed distribution")
    return found.version


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)
