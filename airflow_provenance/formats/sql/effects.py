"""What statements did, all together, to each table that they wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provenance.formats.sql.model import NONE, Change, Sources, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from airflow_provenance.formats.sql.model import Statement, Write

_GONE: tuple[Change, ...] = ("DROP", "TRUNCATE")
_ANEW: tuple[Change, ...] = ("CREATE", "OVERWRITE", *_GONE)


@dataclass(slots=True)
class Effect:
    """What became of one table.

    Attributes:
        change: of the table; None where rows were only added, changed or deleted.
        columns: where each column comes from, for those where that is known.
        influences: columns that had a say in which rows were written.
    """

    change: Change | None = None
    columns: dict[str, Sources] = field(default_factory=dict)
    influences: Sources = NONE


def effects_of(
    statements: Iterable[Statement], identity: Callable[[Table], Hashable] = lambda one: one.key
) -> dict[Table, Effect]:
    """Return the effect on each table, by the spelling that came first.

    What was written before a statement replaced it tells nothing of what is there now, and a table
    that was renamed takes along what was written to it.

    Args:
        statements: in the order in which they ran.
        identity: the same for names that mean the same table.
    """
    effects: dict[Hashable, tuple[Table, Effect]] = {}
    for statement in statements:
        for write in statement.writes:
            _, effect = effects.setdefault(identity(write.table), (write.table, Effect()))
            if write.renamed_from is not None:
                _, moved = effects.pop(identity(write.renamed_from), (None, None))
                _rename(effect, moved)
            else:
                _apply(effect, write)
    return dict(effects.values())


def _apply(effect: Effect, write: Write) -> None:
    if write.change in _ANEW:
        effect.columns, effect.influences = {}, NONE
    effect.change = _next(effect.change, write.change)
    for name, sources in write.columns.items():
        effect.columns[name] = effect.columns.get(name, NONE) | sources
    effect.influences |= write.influences


def _rename(effect: Effect, moved: Effect | None) -> None:
    if moved is None:  # what was in it comes from before these statements
        effect.change = "RENAME" if effect.change is None else "OVERWRITE"
        effect.columns, effect.influences = {}, NONE
        return
    effect.change = (moved.change or "RENAME") if effect.change is None else "OVERWRITE"
    effect.columns, effect.influences = moved.columns, moved.influences


def _next(before: Change | None, now: Change | None) -> Change | None:
    if before in _GONE:  # rows after that are all there is
        return now if now in _GONE else "OVERWRITE"
    if now is None or (now == "ALTER" and before is not None):
        return before
    # Created by these statements, and filled anew by them: nobody else's rows were there.
    return "CREATE" if before == "CREATE" and now in ("OVERWRITE", "TRUNCATE") else now
