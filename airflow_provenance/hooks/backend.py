"""The connection type ``provenance_backend``: a Marquez, DataHub or other OpenLineage endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk import BaseHook

from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

CONN_TYPE = "provenance_backend"
NAME = "Provenance backend (Marquez, DataHub, OpenLineage)"
_TEST_SECONDS = 10.0


class Backend(NamedTuple):
    """What a connection says: the feed's ``url`` and ``api_key``."""

    url: str
    api_key: str | None

    def __repr__(self) -> str:
        return f"Backend({self.url!r})"


def backend_of(connection: Connection) -> Backend:
    """Return what a connection says.

    Its host may be a URL, as the form asks for, or a name, beside a port and a schema.

    Raises:
        SettingsError: it has no host.
    """
    if not connection.host:
        raise SettingsError(f"connection {connection.conn_id} has no URL: give one as its host")
    host = connection.host.rstrip("/")
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    if connection.port:
        url = f"{url}:{connection.port}"
    return Backend(url, connection.password or None)


def read_backend(conn_id: str) -> Backend:
    """Return what a connection says, in the service: unlike a task, it finds those of the page.

    Raises:
        SettingsError: there is no such connection, or it has no host.
    """
    from airflow.models.connection import (  # noqa: TID251 - no task runs here
        Connection as StoredConnection,
    )
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return backend_of(StoredConnection.get_connection_from_secrets(conn_id))
    except AirflowNotFoundException as error:
        raise SettingsError(f"there is no connection {conn_id}: make it in Airflow") from error


class ProvenanceBackendHook(BaseHook):
    """Tells whether a backend answers, for the button of Airflow's form."""

    conn_name_attr = "provenance_backend_conn_id"
    default_conn_name = "provenance_backend_default"
    conn_type = CONN_TYPE
    hook_name = NAME

    def __init__(self, provenance_backend_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.provenance_backend_conn_id = provenance_backend_conn_id

    def get_conn(self) -> Backend:
        """Return what the connection says."""
        return backend_of(self.get_connection(self.provenance_backend_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Ask the backend for anything at all; nothing is sent that it would keep."""
        import httpx

        try:
            url, api_key = self.get_conn()
            headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
            answer = httpx.get(url, headers=headers, timeout=_TEST_SECONDS)
        except SettingsError as error:
            return False, str(error)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return False, f"It does not answer ({type(error).__name__})"
        if answer.status_code in (401, 403):
            return False, f"It answers {answer.status_code}: the API key is wrong"
        if answer.status_code >= 500:
            return False, f"It answers {answer.status_code}: it is not well"
        return True, "It answers"
