"""A notice in words: what, since when, expected and observed, affected, why, what to do next.

Channels send what stands here and nothing else, so what is secret is taken out in one place.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from airflow_provenance.alerts.lifecycle import UNPAUSED
from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.evaluation_change import BURN
from airflow_provenance.sla import causes
from airflow_provenance.sla.amounts import amount_text, moment_text
from airflow_provenance.sla.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.domain.alert import Item, Notice

SHOWN = 20  # of what is affected; the others are counted
Status = Literal["firing", "acknowledged", "resolved"]
_WORDS = {
    "update": "changed: ",
    "repeat": "still: ",
    "escalated": "nobody acknowledged: ",
    "acknowledged": "acknowledged: ",
    "digest": "digest: ",
}


# In words, and the command that shows more.
_CAUSES = {
    causes.PAUSED: ("the DAG is paused", "airflow dags unpause {dag}"),
    causes.DAG_DELETED: ("the DAG was deleted", "airflow dags list"),
    causes.DAG_REMOVED: ("the DAG is in no file any more", "airflow dags list"),
    causes.IMPORT_ERROR: ("the DAG's file cannot be imported", "airflow dags list-import-errors"),
    causes.SCHEDULER_DOWN: ("Airflow's scheduler was down", "airflow jobs check"),
    causes.MAX_ACTIVE_RUNS: (
        "as many runs as the DAG may have were active",
        "airflow dags list-runs {dag} --state running",
    ),
    causes.POOL_FULL: ("its pool was full", "airflow pools list"),
    causes.WAITS_FOR_ASSETS: ("an asset that it waits for was not updated", None),
    causes.AIRFLOW_UNREACHABLE: ("Airflow's database could not be reached", "airflow db check"),
    causes.SKIPPED: ("a later run was made instead", None),
    causes.FAILED: ("it failed", "airflow-provenance runs --dag {dag} --state FAIL"),
    causes.RUNNING: ("it is still running", None),
    causes.UNKNOWN: ("not known", None),
}
# When it is over.
_WERE = {
    causes.PAUSED: "the DAG was paused",
    causes.DAG_REMOVED: "the DAG was in no file",
    causes.IMPORT_ERROR: "the DAG's file could not be imported",
    causes.RUNNING: "it still ran then",
}
_STATES = {"at_risk": "is at risk", "suspended": "is suspended"}
_OUTCOMES = {
    "recovered": "was made good",
    "expired": "is no longer waited for",
    "suspended": "is suspended",
    UNPAUSED: "counts again",
}


class Message(NamedTuple):
    """What a channel sends.

    Attributes:
        id: of this notice, the same in every channel; ``incident`` of all that belong together.
        facts: pairs of a word and a text, in the order to be read.
        data: all of it, as JSON.
    """

    id: str
    incident: str
    kind: str
    status: Status
    severity: str
    at_us: int
    title: str
    facts: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    data: dict[str, Any]

    @property
    def text(self) -> str:
        """All of it as lines."""
        lines = [self.title, "", *(f"{name}: {text}" for name, text in self.facts)]
        return "\n".join([*lines, *(f"{name}: {url}" for name, url in self.links)])


class Cleaner(NamedTuple):
    """How secrets and values of data are taken out of texts, and secrets out of names."""

    text: Callable[[str], str]
    name: Callable[[str], str]


def message_of(notice: Notice, clean: Cleaner, base_url: str | None = None) -> Message:
    """Return a notice in words.

    Args:
        notice: what happened.
        clean: takes out what must not leave.
        base_url: where Airflow is, for links.
    """
    items = notice.firing or notice.resolved
    one, more = items[0], len(items) - 1
    name = clean.name(one.policy)
    verb = _verb(one, is_over=not notice.firing)
    others = f" and {more} more" if more else ""
    if more and all(each.policy == one.policy for each in items):
        others = f" in {len(items)} periods"
    title = f"[{notice.severity}] {_WORDS.get(notice.kind, '')}{name} {verb}{others}"
    facts: list[tuple[str, str]] = []
    for each in items[:SHOWN]:
        facts += _facts(each, clean)
    if len(items) > SHOWN:
        facts.append(("more", f"{len(items) - SHOWN} not shown"))
    if notice.firing and notice.resolved:
        facts.append(("over", ", ".join(clean.name(each.policy) for each in notice.resolved)))
    if notice.by:
        facts.append(("by", clean.text(notice.by)))
    if notice.firing:
        facts.append(("next", _next_step(one, name, clean)))
    links = _links(one, clean, base_url)
    status: Status = "firing" if notice.firing else "resolved"
    if notice.kind == "acknowledged":
        status = "acknowledged"
    return Message(
        id=notice.id,
        incident=notice.incident,
        kind=notice.kind,
        status=status,
        severity=notice.severity,
        at_us=notice.at_us,
        title=title,
        facts=tuple(facts),
        links=links,
        data={
            "id": notice.id,
            "incident": notice.incident,
            "kind": notice.kind,
            "status": status,
            "severity": notice.severity,
            "at": format_time(notice.at_us),
            "title": title,
            "route": notice.route,
            "by": clean.text(notice.by) if notice.by else None,
            "next_step": _next_step(one, name, clean) if notice.firing else None,
            "links": dict(links),
            "firing": [_data(each, clean) for each in notice.firing],
            "resolved": [_data(each, clean) for each in notice.resolved],
        },
    )


def _verb(item: Item, *, is_over: bool) -> str:
    if is_over:
        return _OUTCOMES.get(item.outcome or "", "is well again")
    return _STATES.get(item.state, "is broken")


def _facts(item: Item, clean: Cleaner) -> list[tuple[str, str]]:
    found = [("what", f"{clean.name(item.policy)}, promised of {clean.name(item.target)}")]
    if item.period:
        found.append(("period", clean.name(item.period)))
    if item.breached_us is not None:
        found.append(("since", moment_text(item.breached_us)))
    if item.detected_us is not None and item.detected_us != item.breached_us:
        found.append(("noticed", moment_text(item.detected_us)))
    if (expected := expected_text(item)) is not None:
        found.append(("expected", expected))
    if (observed := _amount(item.observed, item.unit)) is not None:
        found.append(("observed", observed))
    if item.outcome:
        late = _late(item)
        found.append(("outcome", clean.text(item.outcome) + (f", late by {late}" if late else "")))
    if item.affected:
        told = (f"{clean.name(one.policy)} ({clean.name(one.target)})" for one in item.affected)
        names = [*dict.fromkeys(told)]  # one promise may be broken in several periods
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        found.append((f"affected ({len(names)})", ", ".join(names[:SHOWN]) + rest))
    if (words := _cause(item, clean)) is not None:
        found.append(("cause", words))
    if item.owner:
        found.append(("owner", item.owner))
    return found


def _cause(item: Item, clean: Cleaner) -> str | None:
    if item.explanation is not None:
        return clean.text(item.explanation)
    if item.cause is None:
        return None
    words, _ = _CAUSES.get(item.cause, (clean.text(item.cause), None))
    return words if item.ended_us is None else _WERE.get(item.cause, words)


def expected_text(item: Item) -> str | None:
    """Return what was promised, as a person reads it."""
    found = _amount(item.threshold, item.unit)
    if found is None and item.due_us is not None:
        return f"by {moment_text(item.due_us)}"
    return found


def _amount(value: float | None, unit: str) -> str | None:
    return None if value is None else amount_text(float(value), unit)


def _late(item: Item) -> str | None:
    if item.outcome != "recovered" or item.ended_us is None or item.breached_us is None:
        return None
    return format_duration(timedelta(seconds=(item.ended_us - item.breached_us) // 1_000_000))


def _next_step(item: Item, name: str, clean: Cleaner) -> str:
    if item.target.startswith("channel:"):
        return "airflow-provenance sla alerts"
    _, command = _CAUSES.get(item.cause or "", ("", None))
    kind, _, target = item.target.partition(":")
    if command is not None and kind in ("dag", "task"):
        return command.format(
            dag=clean.name(target.partition(".")[0] if kind == "task" else target)
        )
    word = "why" if item.explanation is not None else "status --policy"
    return f"airflow-provenance sla {word} {name}"


def _links(item: Item, clean: Cleaner, base_url: str | None) -> tuple[tuple[str, str], ...]:
    kind, _, target = item.target.partition(":")
    if base_url is None or kind not in ("dag", "task"):
        return ()
    dag, task = target, None
    if kind == "task":
        dag, _, task = target.partition(".")
    url = f"{base_url.rstrip('/')}/dags/{quote(clean.name(dag), safe='')}"
    is_run = not item.period.startswith(BURN)
    run = item.period.partition("/")[2].partition("#")[0] if is_run else ""
    if run:
        url += f"/runs/{quote(clean.name(run), safe='')}"
    if task:
        url += f"/tasks/{quote(clean.name(task), safe='')}"
    return (("Airflow", url),)


def _data(item: Item, clean: Cleaner) -> dict[str, Any]:
    return {
        "fingerprint": item.fingerprint,
        "policy": clean.name(item.policy),
        "target": clean.name(item.target),
        "period": clean.name(item.period) or None,
        "state": item.state,
        "severity": item.severity,
        "owner": item.owner,
        "expected": expected_text(item),
        "observed": _amount(item.observed, item.unit),
        "due_at": format_time(item.due_us),
        "breached_at": format_time(item.breached_us),
        "detected_at": format_time(item.detected_us),
        "ended_at": format_time(item.ended_us),
        "outcome": clean.text(item.outcome) if item.outcome else None,
        "late_by": _late(item),
        "cause": clean.text(item.cause) if item.cause else None,
        "explanation": _cause(item, clean),
        "affected": [_data(one, clean) for one in item.affected],
    }
