"""What a SQL store keeps of alerts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.alert import (
    Action,
    Alert,
    AlertState,
    ChannelState,
    Incident,
    Notice,
    Queued,
)
from airflow_provenance.store.sql.engine import reading, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Engine

    from airflow_provenance.store.sql.bulk import Bulk

_MARKS = {name: f"alerts:{name}" for name in ("version", "cursor", "began_us")}
_NOTICE = "id, body, attempts, next_attempt_us, delivered_us, dead_us, last_error, last_error_us"
_WAITS = "delivered_us IS NULL AND dead_us IS NULL"
_ACTION = "id, kind, matchers, author, reason, at_us, until_us"


class SqlAlerts:
    """See `store.alerts.AlertStore`."""

    _engine: Engine

    def alert_state(self) -> AlertState:
        with reading(self._engine) as bulk:
            alerts = bulk.fetch("SELECT fingerprint, body FROM alert")
            incidents = bulk.fetch("SELECT incident_key, body FROM incident")
            marks = _marks(bulk)
        return AlertState(
            **marks,
            alerts={key: msgspec.json.decode(body, type=Alert) for key, body in alerts},
            incidents={key: msgspec.json.decode(body, type=Incident) for key, body in incidents},
        )

    def put_alert_state(self, state: AlertState, notices: Sequence[Notice]) -> bool:
        with writing(self._engine) as bulk:
            if _marks(bulk)["version"] != state.version - 1:
                return False
            _put(bulk, "alert", "fingerprint", state.alerts)
            _put(bulk, "incident", "incident_key", state.incidents)
            rows = [(mark, getattr(state, name)) for name, mark in _MARKS.items()]
            bulk.upsert("counter", "name, value", rows)
            (top,) = bulk.fetch("SELECT coalesce(max(id), 0) FROM notice")[0]
            bulk.execute(
                "INSERT INTO notice (id, incident, transition, channel, body, created_us, "
                "attempts, next_attempt_us) VALUES (?, ?, ?, ?, ?, ?, 0, 0) "
                "ON CONFLICT (incident, transition, channel) DO NOTHING",
                [
                    (int(top) + n, one.incident, one.transition, one.channel, _json(one), one.at_us)
                    for n, one in enumerate(notices, 1)
                ],
            )
        return True

    def waiting_notices(self, limit: int = 1000) -> list[Queued]:
        query = f"SELECT {_NOTICE} FROM notice WHERE {_WAITS} ORDER BY id LIMIT ?"
        with reading(self._engine) as bulk:
            return [_queued(row) for row in bulk.fetch(query, (limit,))]

    def claim_notice(self, id_: int, attempts: int, until_us: int) -> bool:
        query = f"SELECT 1 FROM notice WHERE id = ? AND attempts = ? AND {_WAITS}"
        with writing(self._engine) as bulk:
            if not bulk.fetch(query, (id_, attempts)):
                return False
            bulk.execute(
                "UPDATE notice SET attempts = attempts + 1, next_attempt_us = ? WHERE id = ?",
                [(until_us, id_)],
            )
        return True

    def settle_notice(
        self, id_: int, at_us: int, *, error: str | None = None, next_attempt_us: int | None = None
    ) -> None:
        values: tuple[Any, ...] = (at_us,)
        sets = "delivered_us = ?"
        if error is not None:
            text = error.replace("\0", "\ufffd").encode(errors="replace").decode()
            sets, values = "last_error = ?, last_error_us = ?, ", (text, at_us)
            sets += "dead_us = ?" if next_attempt_us is None else "next_attempt_us = ?"
            values += (at_us if next_attempt_us is None else next_attempt_us,)
        with writing(self._engine) as bulk:
            bulk.execute(f"UPDATE notice SET {sets} WHERE id = ?", [(*values, id_)])

    def notices(self, limit: int = 100) -> list[Queued]:
        with reading(self._engine) as bulk:
            query = f"SELECT {_NOTICE} FROM notice ORDER BY id DESC LIMIT ?"
            return [_queued(row) for row in bulk.fetch(query, (limit,))]

    def channel_states(self) -> list[ChannelState]:
        query = (
            "SELECT channel, count(*), count(delivered_us), count(dead_us), max(delivered_us), "
            f"max(dead_us), min(CASE WHEN {_WAITS} THEN id END), max(last_error_us) "
            "FROM notice GROUP BY channel ORDER BY channel"
        )
        with reading(self._engine) as bulk:
            return [_channel(bulk, row) for row in bulk.fetch(query)]

    def expire_notices(self, before_us: int) -> int:
        old = "coalesce(delivered_us, dead_us) < ?"
        with writing(self._engine) as bulk:
            (count,) = bulk.fetch(f"SELECT count(*) FROM notice WHERE {old}", (before_us,))[0]
            bulk.execute(f"DELETE FROM notice WHERE {old}", [(before_us,)])
        return int(count)

    def add_action(self, action: Action) -> Action:
        with writing(self._engine) as bulk:
            (top,) = bulk.fetch("SELECT coalesce(max(id), 0) FROM alert_action")[0]
            kept = msgspec.structs.replace(action, id=int(top) + 1)
            row = [getattr(kept, name) for name in _ACTION.split(", ")]
            row[2] = json.dumps(kept.matchers)
            bulk.insert("alert_action", _ACTION, [row])
        return kept

    def actions(self, since_us: int | None = None) -> list[Action]:
        query = (
            f"SELECT {_ACTION} FROM alert_action WHERE until_us IS NULL OR until_us > ? ORDER BY id"
        )
        since = -1 if since_us is None else since_us
        with reading(self._engine) as bulk:
            rows = bulk.fetch(query, (since,))
        names = _ACTION.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [Action(**{**one, "matchers": tuple(json.loads(one["matchers"]))}) for one in found]

    def end_action(self, id_: int, at_us: int) -> bool:
        query = "SELECT 1 FROM alert_action WHERE id = ? AND (until_us IS NULL OR until_us > ?)"
        with writing(self._engine) as bulk:
            if not bulk.fetch(query, (id_, at_us)):
                return False
            bulk.execute("UPDATE alert_action SET until_us = ? WHERE id = ?", [(at_us, id_)])
        return True


def _marks(bulk: Bulk) -> dict[str, int]:
    rows = bulk.fetch(
        "SELECT name, value FROM counter WHERE name IN (?, ?, ?)", tuple(_MARKS.values())
    )
    known = dict(map(tuple, rows))
    return {name: int(known.get(mark, 0)) for name, mark in _MARKS.items()}


def _put(bulk: Bulk, table: str, key: str, wanted: Mapping[str, Alert | Incident]) -> None:
    """Make a table hold these; only what differs is written."""
    known = dict(map(tuple, bulk.fetch(f"SELECT {key}, body FROM {table}")))
    after = {name: _json(one) for name, one in wanted.items()}
    bulk.execute(
        f"DELETE FROM {table} WHERE {key} = ?", [(one,) for one in known.keys() - after.keys()]
    )
    changed = [(name, body) for name, body in after.items() if known.get(name) != body]
    bulk.upsert(table, f"{key}, body", changed)


def _json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    # PostgreSQL's text has no NUL, and nobody a name with one.
    return text.replace("\\u0000", "\\ufffd")


def _queued(row: Sequence[Any]) -> Queued:
    notice = msgspec.json.decode(row[1], type=Notice)
    return Queued(
        id=row[0], notice=notice, **dict(zip(_NOTICE.split(", ")[2:], row[2:], strict=True))
    )


def _channel(bulk: Bulk, row: Sequence[Any]) -> ChannelState:
    name, total, delivered, dead, delivered_us, dead_us, first, error_us = row
    attempts, since_us = 0, None
    if first is not None:
        query = "SELECT attempts, created_us FROM notice WHERE id = ?"
        attempts, since_us = bulk.fetch(query, (first,))[0]
    query = "SELECT last_error FROM notice WHERE channel = ? AND last_error_us = ? ORDER BY id"
    error = bulk.fetch(query, (name, error_us))[0][0] if error_us is not None else None
    return ChannelState(
        name=name,
        waiting=total - delivered - dead,
        delivered=delivered,
        dead=dead,
        attempts=attempts,
        waits_since_us=since_us,
        last_error=error,
        last_error_us=error_us,
        delivered_us=delivered_us,
        dead_us=dead_us,
    )
