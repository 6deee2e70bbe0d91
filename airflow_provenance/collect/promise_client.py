"""How promises stand, asked over HTTP of ``api_url``: for tasks and triggers without a store."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import msgspec

from airflow_provenance import __version__
from airflow_provenance.errors import PolicyError, StoreUnavailableError
from airflow_provenance.sla.check import Answer, Asked

PATH = "/api/v1/sla/evaluate"
_DETAIL_CHARS = 300
_ADVICE = {
    401: "check [provenance] api_token",
    403: "[provenance] api_token needs the scope read, too",
    404: "check [provenance] api_url, and for which DAGs api_token is",
}


class _Told(msgspec.Struct):
    detail: str = ""


def ask(url: str, token: str | None, asked: Asked, seconds: float) -> Answer:
    """Ask how promises stand.

    Raises:
        PolicyError: it cannot be asked so.
        StoreUnavailableError: nobody answers, or not to us: it may later.
    """
    import httpx  # whoever does not ask does not load it

    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    headers = {
        "Authorization": f"Bearer {token or ''}",
        "Content-Type": "application/json",
        "User-Agent": f"airflow-provenance/{__version__}",
    }
    try:
        with httpx.Client(verify=ssl.create_default_context(), follow_redirects=False) as http:
            body = msgspec.json.encode(asked)
            reply = http.post(url + PATH, content=body, headers=headers, timeout=seconds)
    except Exception as error:
        text = _hidden(" ".join(str(error).split()), token) or "no answer in time"
        raise StoreUnavailableError(
            f"{where} does not answer ({type(error).__name__}: {text})"
        ) from error
    if reply.status_code == 200:
        try:
            return msgspec.json.decode(reply.content, type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnavailableError(
                f"{where} answers 200, but not as our HTTP interface does; {_ADVICE[404]}"
            ) from error
    detail = _hidden(_detail(reply.content), token)
    if reply.status_code == 422:
        raise PolicyError(detail or f"{where} cannot be asked so")
    said = f"{where} answers {reply.status_code}{': ' if detail else ''}{detail}"
    advice = _ADVICE.get(reply.status_code)
    raise StoreUnavailableError(f"{said}; {advice}" if advice else said)


def _detail(body: bytes) -> str:
    try:
        detail = msgspec.json.decode(body, type=_Told).detail
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return " ".join(detail.split())[:_DETAIL_CHARS]


def _hidden(text: str, token: str | None) -> str:
    """Return a text without our token: some servers answer with what they were sent."""
    return text.replace(token, "***") if token else text
