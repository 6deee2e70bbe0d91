"""Airflow's users, inside its API server: its auth manager says which DAGs they may read.

What belongs to no DAG, and sending events, is for those who may change all connections: Airflow's
auth managers have no word for an administrator, and this is what `Op` and `Admin` may and others
may not. Producers of events use tokens of ``[provenance] api_tokens``, here as in `serve`.
"""

from __future__ import annotations

import functools
from typing import Any

from starlette.requests import Request

from airflow_provenance.api.security import Viewer, bearer_token
from airflow_provenance.api.tokens import TokenSecurity
from airflow_provenance.errors import AuthenticationError


class AirflowViewer:
    """A user of Airflow. See `security.Viewer`."""

    can_read = True
    can_act = True

    def __init__(self, manager: Any, user: Any, *, is_by_cookie: bool) -> None:
        self.name = f"airflow:{user.get_name()}"
        self.is_by_cookie = is_by_cookie
        self._manager = manager
        self._user = user

    @property
    def can_ingest(self) -> bool:
        """See `security.Viewer`."""
        return self.is_admin()

    @functools.cache  # noqa: B019 - a viewer lives as long as its request
    def is_admin(self) -> bool:
        """See `security.Viewer`."""
        return bool(self._manager.is_authorized_connection(method="PUT", user=self._user))

    def may_read(self, dag_id: str) -> bool:
        """See `security.Viewer`.

        Airflow answers for DAGs that it does not know, or no more; ``~`` means any DAG to it.
        """
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

        return self._is_allowed("GET", dag_id, DagAccessEntity.RUN)

    def may_act(self, dag_id: str | None) -> bool:
        """See `security.Viewer`."""
        return self.is_admin() or (dag_id is not None and self._is_allowed("PUT", dag_id, None))

    def _is_allowed(self, method: str, dag_id: str, entity: Any) -> bool:
        if dag_id in ("", "~"):
            return self.is_admin()
        if _is_multi_team() and dag_id not in self._dags_of_teams(method):
            return False
        from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

        return bool(
            self._manager.is_authorized_dag(
                method=method,
                access_entity=entity,
                details=DagDetails(id=dag_id),
                user=self._user,
            )
        )

    def may_ingest(self, namespace: str) -> bool:  # noqa: ARG002 - not bound to namespaces
        """See `security.Viewer`."""
        return self.is_admin()

    @functools.cache  # noqa: B019 - a viewer lives as long as its request
    def _dags_of_teams(self, method: str) -> set[str]:
        return set(self._manager.get_authorized_dag_ids(user=self._user, method=method))


class AirflowSecurity:
    """Our tokens, else Airflow's users. See `security.Security`."""

    def __init__(self, tokens: TokenSecurity) -> None:
        self._tokens = tokens

    async def identify(self, request: Request) -> Viewer:
        """See `security.Security`."""
        presented = bearer_token(request)
        found = self._tokens.find(presented)
        if found is not None:
            return found
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.core_api.security import get_user
        from fastapi import HTTPException
        from fastapi.security import HTTPAuthorizationCredentials

        sent = presented and HTTPAuthorizationCredentials(scheme="Bearer", credentials=presented)
        try:
            user = await get_user(request, None, sent or None)
        except HTTPException as error:
            raise AuthenticationError(f"Airflow says: {error.detail}") from error
        return AirflowViewer(get_auth_manager(), user, is_by_cookie=presented is None)


def _is_multi_team() -> bool:
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))
