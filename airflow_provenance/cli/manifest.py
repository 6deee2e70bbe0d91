"""The lines of `run` on code, environment and parameters; what nobody recorded is told as such."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.lineage.short import DIGITS, short_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_RECORDED = "not recorded"
_MOST_LETTERS = 80


def manifest_lines(answer: dict[str, Any], *, is_long: bool) -> Iterator[tuple[str, str]]:
    """Return the names of lines, and what each says, of a run as JSON."""
    manifest = answer["manifest"]
    if manifest is None:
        is_dag_run = answer["key"][0] == "dag_run"
        why = ": those of its tasks are" if is_dag_run else ""
        number = answer["dag_version_number"]
        if number is not None:
            yield "DAG version", str(number)
        yield "manifest", f"{_NOT_RECORDED}{why}"
        return
    told = _Manifest(manifest, is_long)
    yield "code", told.code()
    yield "operator", told.operator()
    yield "DAG version", told.dag_version(answer["dag_version_number"])
    yield "parameters", told.parameters()
    yield "installed", told.installed(answer["libraries"])
    yield "host", told.host()
    yield "image", told.image()


class _Manifest:
    """One manifest, as text."""

    def __init__(self, manifest: dict[str, Any], is_long: bool) -> None:
        self._code: dict[str, Any] = manifest.get("code") or {}
        self._environment: dict[str, Any] = manifest.get("environment") or {}
        self._parameters: dict[str, Any] = manifest.get("parameters") or {}
        self._placement: dict[str, Any] = manifest.get("placement") or {}
        self._absent: dict[str, str] = manifest.get("absent") or {}
        self._is_long = is_long

    def code(self) -> str:
        git = self._code.get("git") or {}
        said = self._missing("commit", "code.git")
        if commit := git.get("commit"):
            since = {True: ", with changes since", False: ", without changes since", None: ""}
            said = f"commit {self._hash(commit)}{since[git.get('dirty')]}"
        if file := self._code.get("dagFile"):
            tracked = ", not in git" if git.get("dagFileTracked") is False else ""
            digest = self._hash(self._code.get("dagFileSha256"))
            said += f"; {file}{tracked}{digest and f' {digest}'}"
        return said

    def operator(self) -> str:
        distribution = self._code.get("operatorDistribution") or {}
        name = self._text(str(self._code.get("operator") or _NOT_RECORDED))
        name = name if self._is_long else name.rpartition(".")[2]
        of = f"{distribution.get('name', '')} {distribution.get('version', '')}".strip()
        return f"{name} of {of}" if of else name

    def dag_version(self, number: int | None) -> str:
        version = self._code.get("dagVersionId")
        of = f"bundle {self._code['bundleName']}" if self._code.get("bundleName") else ""
        at = (
            f" at {self._hash(self._code['bundleVersion'])}"
            if self._code.get("bundleVersion")
            else ""
        )
        if version is None and number is None:
            return _NOT_RECORDED
        told = str(number) if number is not None else "number not recorded"
        return ", ".join(one for one in (told, str(version or ""), of + at) if one)

    def parameters(self) -> str:
        told: dict[str, Any] = {}
        for group in ("params", "conf", "rendered"):
            values = self._parameters.get(group)
            told |= {k: v for k, v in (values or {}).items() if v not in (None, {}, [])}
        if not self._parameters:
            return _NOT_RECORDED
        return ", ".join(f"{name}={self._value(value)}" for name, value in told.items()) or "none"

    def installed(self, libraries: int | None) -> str:
        environment = self._environment
        python = environment.get("python") or _NOT_RECORDED
        digest = self._hash(environment.get("dependenciesHash"))
        many = f"{libraries} libraries" if libraries is not None else f"libraries {_NOT_RECORDED}"
        return (
            f"{environment.get('implementation') or 'Python'} {python}, "
            f"Airflow {environment.get('airflow') or _NOT_RECORDED}, "
            f"{many}{f' ({digest})' if digest else ''}"
        )

    def host(self) -> str:
        environment, placement = self._environment, self._placement
        said = [
            placement.get("hostname") or _NOT_RECORDED,
            " ".join(str(environment[n]) for n in ("system", "machine") if environment.get(n)),
            placement.get("executor"),
            f"pool {placement['pool']}" if placement.get("pool") else None,
            f"queue {placement['queue']}" if placement.get("queue") else None,
        ]
        return ", ".join(str(one) for one in said if one)

    def image(self) -> str:
        image = self._environment.get("image")
        return str(image) if image else self._missing("", "environment.image")

    def _missing(self, what: str, path: str) -> str:
        reason = self._absent.get(path)
        return f"{what} {_NOT_RECORDED}{f' ({reason})' if reason else ''}".strip()

    def _hash(self, digest: object) -> str:
        text = "" if digest is None else str(digest)
        return text if self._is_long else text[:DIGITS]

    def _text(self, text: str) -> str:
        return text if self._is_long else short_paths(text)

    def _value(self, value: object) -> str:
        text = self._text(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        if self._is_long or len(text) <= _MOST_LETTERS:
            return text
        return f"{text[: _MOST_LETTERS - 1]}…"
