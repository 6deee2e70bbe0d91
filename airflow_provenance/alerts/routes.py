"""Routes: who is told of which alerts, when, and how often. Words and meaning are Alertmanager's.

``[provenance] routes`` is a JSON list; an alert goes the routes that its promise names in
``notify``, else the first whose matchers it meets (and on, where that says ``continue``)::

    [{"name": "data-oncall", "matchers": ["severity=page"], "channels": ["pager"],
      "escalate": [{"after": "30m", "channels": ["lead"]}]},
     {"name": "everybody", "channels": ["slack"], "repeat_interval": "1d",
      "mute": [{"days": ["sat", "sun"], "zone": "Europe/Berlin"}]}]
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from airflow_provenance.alerts.matchers import LABELS, Matcher, match, parse_matcher
from airflow_provenance.errors import PolicyError, SettingsError
from airflow_provenance.sla.calendar import Weekday, due_instants, find_zone
from airflow_provenance.sla.durations import microseconds, parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from zoneinfo import ZoneInfo

_WEEKDAYS = get_args(Weekday)
_DAY_US = 86_400_000_000


class Mute(NamedTuple):
    """Local times at which nobody is told; what is still so at their end is told then."""

    zone: ZoneInfo
    days: tuple[str, ...] = _WEEKDAYS
    start: time = time(0)
    end: time = time(0)  # the same as the start: the whole day

    def covers(self, us: int) -> bool:
        """Whether a moment is in it; one over midnight is of the day on which it begins."""
        local = datetime.fromtimestamp(us / 1e6, UTC).astimezone(self.zone)
        now, today = local.time(), _WEEKDAYS[local.weekday()]
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        if today in self.days and now >= self.start:
            return True
        return _WEEKDAYS[local.weekday() - 1] in self.days and now < self.end


class Digest(NamedTuple):
    """A local time at which all that is open is told in one notice."""

    zone: ZoneInfo
    at: time

    def next_us(self, after_us: int) -> int:
        """Return the first of these times after a moment."""
        some = due_instants(after_us + 1, after_us + 3 * _DAY_US, self.at, self.zone)
        return next(some)


class Step(NamedTuple):
    """One escalation: so long after nobody acknowledged, these channels are told, too."""

    after_us: int
    channels: tuple[str, ...]


class Route(NamedTuple):
    """One way by which people are told. Lengths of time in microseconds."""

    name: str
    channels: tuple[str, ...]
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False
    at_risk: bool = False
    group_by: tuple[str, ...] = ("policy",)
    group_wait_us: int = 30_000_000
    group_interval_us: int = 300_000_000
    repeat_interval_us: int = 4 * 3_600_000_000
    keep_firing_us: int = 0
    escalate: tuple[Step, ...] = ()
    mute: tuple[Mute, ...] = ()
    digest: Digest | None = None


def routes_of(
    routes: Sequence[Route], labels: Mapping[str, str], notify: Sequence[str]
) -> list[Route]:
    """Return the routes an alert goes: those it names, else those that it meets."""
    if named := [one for one in routes if one.name in notify]:
        return named
    found = []
    for one in routes:
        if match(one.matchers, labels):
            found.append(one)
            if not one.goes_on:
                break
    return found


_LENGTHS = {
    "group_wait": "group_wait_us",
    "group_interval": "group_interval_us",
    "repeat_interval": "repeat_interval_us",
    "keep_firing_for": "keep_firing_us",
}
_MEMBERS = frozenset(
    {"name", "channels", "matchers", "continue", "at_risk", "group_by", "escalate", "mute"}
    | {"digest"}
    | _LENGTHS.keys()
)


def parse_routes(text: str, channels: Collection[str]) -> list[Route]:
    """Return the routes that a JSON list tells; with none, one route to all channels.

    A channel is also a route of its name, for promises that name it in ``notify``.

    Raises:
        SettingsError: with one line that says what is wrong, and where.
    """
    try:
        plain = json.loads(text.strip() or "[]")
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"[provenance] routes is no JSON: {error}") from error
    if not isinstance(plain, list) or not all(isinstance(one, dict) for one in plain):
        raise SettingsError('[provenance] routes: give a JSON list of {"name", "channels", …}')
    found: list[Route] = []
    for number, one in enumerate(plain, 1):
        name = one.get("name") if isinstance(one.get("name"), str) else f"number {number}"
        try:
            found.append(_route(one, channels))
        except (SettingsError, PolicyError) as error:
            raise SettingsError(f"[provenance] routes: route {name!r}: {error}") from error
    names = [one.name for one in found]
    if twice := {one for one in names if names.count(one) > 1}:
        raise SettingsError(f"[provenance] routes: {min(twice)!r} is there twice")
    if not found and channels:
        found.append(Route("default", tuple(channels)))
    return found + [_by_name(one) for one in channels if one not in names]


_NEVER = parse_matcher('policy=~"(?!)"')


def _by_name(channel: str) -> Route:
    return Route(channel, (channel,), matchers=(_NEVER,))


def _route(plain: dict[str, Any], channels: Collection[str]) -> Route:
    if unknown := sorted(plain.keys() - _MEMBERS):
        raise SettingsError(f"{unknown[0]!r} is not known: it takes {', '.join(sorted(_MEMBERS))}")
    if not isinstance(plain.get("name"), str) or not plain["name"].strip():
        raise SettingsError("its name is missing")
    made: dict[str, Any] = {
        field: _length(plain, name) for name, field in _LENGTHS.items() if name in plain
    }
    if made.get("repeat_interval_us") == 0:
        raise SettingsError("repeat_interval is 0: it would tell again without a pause")
    group_by = _texts(plain.get("group_by", ["policy"]), "group_by")
    if wrong := [one for one in group_by if one not in LABELS]:
        raise SettingsError(f"group_by: {wrong[0]!r} is no label: use {', '.join(LABELS)}")
    return Route(
        name=plain["name"],
        channels=_channels(plain, channels),
        matchers=tuple(map(parse_matcher, _texts(plain.get("matchers", []), "matchers"))),
        goes_on=_flag(plain, "continue"),
        at_risk=_flag(plain, "at_risk"),
        group_by=group_by,
        escalate=tuple(
            sorted(
                Step(_length(one, "after"), _channels(one, channels))
                for one in _objects(plain, "escalate", {"after", "channels"})
            )
        ),
        mute=tuple(_mute(one) for one in _objects(plain, "mute", {"days", "from", "to", "zone"})),
        digest=_digest(plain.get("digest")),
        **made,
    )


def _channels(plain: dict[str, Any], known: Collection[str]) -> tuple[str, ...]:
    names = _texts(plain.get("channels", []), "channels")
    if not names:
        raise SettingsError("it has no channel: nobody would be told")
    if unknown := [one for one in names if one not in known]:
        some = ", ".join(sorted(known)) or "none"
        raise SettingsError(f"there is no channel {unknown[0]!r}: [provenance] channels has {some}")
    return names


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"{name} must be a list of texts")
    return tuple(value)


def _objects(plain: dict[str, Any], name: str, members: set[str]) -> list[dict[str, Any]]:
    value = plain.get(name, [])
    is_right = isinstance(value, list) and all(
        isinstance(one, dict) and one.keys() <= members for one in value
    )
    if not is_right:
        raise SettingsError(f"{name} must be a list of objects with {', '.join(sorted(members))}")
    return list(value)


def _flag(plain: dict[str, Any], name: str) -> bool:
    value = plain.get(name, False)
    if not isinstance(value, bool):
        raise SettingsError(f"{name} must be true or false")
    return value


def _length(plain: dict[str, Any], name: str) -> int:
    value = plain.get(name)
    if not isinstance(value, str) or (length := parse_duration(value)) < timedelta(0):
        raise SettingsError(f"{name} must be a length of time, such as 30s, 5m or 4h")
    return microseconds(length)


def _time(plain: dict[str, Any], name: str, default: str) -> time:
    try:
        return time.fromisoformat(plain.get(name, default))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{name} must be a local time, such as 22:00") from error


def _zone(plain: dict[str, Any]) -> ZoneInfo:
    return find_zone(str(plain.get("zone", "UTC")))


def _mute(plain: dict[str, Any]) -> Mute:
    days = _texts(plain.get("days", list(_WEEKDAYS)), "days")
    if not days or (wrong := [one for one in days if one not in _WEEKDAYS]):
        raise SettingsError(f"mute: days: use {', '.join(_WEEKDAYS)}, not {', '.join(wrong)}"
                            if days else "mute: it has no day")  # fmt: skip
    return Mute(_zone(plain), days, _time(plain, "from", "00:00"), _time(plain, "to", "00:00"))


def _digest(plain: Any) -> Digest | None:
    if plain is None:
        return None
    if not isinstance(plain, dict) or not {"at"} <= plain.keys() <= {"at", "zone"}:
        raise SettingsError('digest must be an object as {"at": "08:00", "zone": "Europe/Berlin"}')
    return Digest(_zone(plain), _time(plain, "at", ""))
