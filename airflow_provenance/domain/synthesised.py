"""What Airflow's own record said of a run, where no event and no hook did.

The reconciler writes it as notes that are marked; it fills what is not known otherwise, and never
replaces it. Of two things the record is the better witness: when a try started and ended, which a
task's process is told otherwise; and a state that somebody changed without any hook being told
(``override``), where that is later than the last change that was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provenance.domain.run import RunDoc

# Name of a fact -> (when the record was changed, entry id, value); of two the later one wins.
Told = dict[str, tuple[int, bytes, int | str]]

FACTS = ("state", "started_at", "ended_at", "scheduled_at", "queued_at", "hostname")
OVERRIDE = "override"
# That it began at all: instead of a START event that did not come.
BEGAN = "began"


def merge_told(into: Told, other: Told) -> None:
    """Merge what the record said by fact; of two the later wins."""
    for name, told in other.items():
        mine = into.get(name)
        if mine is None or mine[:2] < told[:2]:
            into[name] = told


def told_number(doc: RunDoc, name: str) -> int | None:
    """Return a time or a state of the record, if it was asked."""
    value = doc.synthesised.get(name)
    return value[2] if value is not None and isinstance(value[2], int) else None


def told_text(doc: RunDoc, name: str) -> str | None:
    """Return a name of the record, if it was asked."""
    value = doc.synthesised.get(name)
    return value[2] if value is not None and isinstance(value[2], str) else None


def overriding(doc: RunDoc, real_state: int) -> tuple[int, int] | None:
    """Return when and to what a state was changed that no hook was told of."""
    told = doc.synthesised.get(OVERRIDE)
    if told is None or not isinstance(told[2], int) or told[2] == real_state:
        return None
    if doc.override is not None and told[0] <= doc.override[0]:
        return None
    return told[0], told[2]


def scheduled_us(doc: RunDoc) -> int | None:
    """Return since when the run could have been queued."""
    real = doc.noted_scheduled_us
    return told_number(doc, "scheduled_at") if real is None else real


def queued_us(doc: RunDoc) -> int | None:
    """Return since when the run was queued."""
    real = doc.noted_queued_us
    return told_number(doc, "queued_at") if real is None else real


def synthesised_facts(doc: RunDoc, real_state: int) -> list[str]:
    """Return which facts of a run only Airflow's own record tells.

    Args:
        doc: all that was said of it.
        real_state: what its state would be without the record.
    """
    real = {
        "state": doc.terminal or doc.override,
        "started_at": None,  # Airflow's own is another than the one that a task is told
        "ended_at": None,
        "scheduled_at": doc.noted_scheduled_us,
        "queued_at": doc.noted_queued_us,
        "hostname": doc.hostname,
    }
    return [
        name
        for name in FACTS
        if (name in doc.synthesised and real[name] is None)
        or (name == "state" and overriding(doc, real_state) is not None)
    ]
