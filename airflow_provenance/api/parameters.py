"""What routes are asked with: who asks, the store as they may see it, pages, and texts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Path, Query, Request

from airflow_provenance.api.security import Viewer, refuse_cross_site
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.domain.clock import parse_time
from airflow_provenance.errors import AccessError, EventError, RequestError

_MOST = (1 << 63) - 1  # what a database can be asked for
# A text holds no NUL: no store has such names, and PostgreSQL refuses to be asked for them.
Text = Annotated[str, Query(pattern=r"^[^\x00]*$", max_length=2000)]
Id = Annotated[int, Path(ge=1, le=_MOST)]
RunName = Annotated[str, Path(pattern=r"^[^\x00]+$", max_length=2000)]
Limit = Annotated[int, Query(ge=1, le=1000)]


async def identified(request: Request) -> Viewer:
    """Return who asks, of every route: `AuthenticationError` where nobody is known."""
    viewer: Viewer = await request.app.state.security.identify(request)
    refuse_cross_site(request, viewer)
    return viewer


CurrentViewer = Annotated[Viewer, Depends(identified)]


def visible(request: Request, viewer: CurrentViewer) -> VisibleReader:
    """Return the store as the viewer may see it."""
    if not viewer.can_read:
        raise AccessError("your token lacks the scope read")
    state = request.app.state
    return VisibleReader(state.stores.get(), viewer, state.namespace_dags)


Visible = Annotated[VisibleReader, Depends(visible)]


_AHEAD_US = 400 * 86_400_000_000


def moment(text: str | None, name: str, request: Request, *, ahead: bool = False) -> int:
    """Return a time that was asked for, now where none was.

    Args:
        text: ISO 8601 with a zone.
        name: of the parameter.
        request: knows what time it is.
        ahead: whether it may come after now, by a year or so.

    Raises:
        RequestError: it is no time, or too far ahead.
    """
    now_us: int = request.app.state.clock.now_us()
    if text is None:
        return now_us
    try:
        found = parse_time(text)
    except EventError as error:
        raise RequestError(f"{name}: {error}") from error
    if found > now_us + (_AHEAD_US if ahead else 0):
        raise RequestError(f"{name}: {text[:60]!r} is too far ahead")
    return found


def cursor_of(*place: str | int) -> str:
    """Return where a page ended, as text without meaning."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str | None, shape: Any) -> Any:
    """Return where a page ended; `RequestError` for what is no cursor of this list."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        place = msgspec.json.decode(text, type=shape)
    except (ValueError, msgspec.DecodeError) as error:
        raise RequestError("cursor is not one that this list gave") from error
    for part in place:
        is_wrong = "\0" in part if isinstance(part, str) else not 0 <= part <= _MOST
        if is_wrong:
            raise RequestError("cursor is not one that this list gave")
    return place


def page(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], Any]:
    """Part one row too many from a page: return the page, and its last row if more follow."""
    return rows[:limit], rows[limit - 1] if len(rows) > limit else None
