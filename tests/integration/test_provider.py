"""What Airflow shows of the provider: its connection type and form, its section, its decorator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from airflow_provenance.errors import SettingsError
from airflow_provenance.get_provider_info import get_provider_info
from airflow_provenance.hooks.backend import NAME, ProvenanceBackendHook, backend_of, read_backend
from airflow_provenance.settings import OPTIONS, SECTION
from tests.support.marquez_stub import MarquezStub

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "AIRFLOW_CONN_MY_MARQUEZ"


def test_airflow_shows_the_connection_type_and_its_form_in_a_feeds_words() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [
        one
        for one in HookMetaService.hook_meta_data()
        if one.connection_type == ProvenanceBackendHook.conn_type
    ]

    assert form.hook_name == NAME == ProvenanceBackendHook.hook_name
    fields = form.standard_fields
    assert fields is not None
    assert fields.host is not None
    assert fields.host.title == "URL"
    assert fields.password is not None
    assert fields.password.title == "API key"
    assert fields.login is not None
    assert fields.login.hidden


def test_what_the_provider_says_of_itself_is_there() -> None:
    info = get_provider_info()

    hook = ProvidersManagerTaskRuntime().hooks[ProvenanceBackendHook.conn_type]
    assert hook is not None
    (said,) = info["connection-types"]
    assert hook.hook_class_name == said["hook-class-name"]
    assert set(info["config"][SECTION]["options"]) == set(OPTIONS)
    assert info["package-name"] in ProvidersManager().providers


def test_a_connection_tests_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = ProvenanceBackendHook("my_marquez")
    with MarquezStub() as stub:
        connection = {"conn_type": ProvenanceBackendHook.conn_type, "host": stub.url}
        monkeypatch.setenv(VARIABLE, json.dumps(connection))
        assert hook.test_connection() == (True, "It answers")
        stub.fail(403, times=1)
        assert hook.test_connection() == (False, "It answers 403: the API key is wrong")
    is_well, told = hook.test_connection()
    assert not is_well
    assert told.startswith("It does not answer")
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "provenance_backend"}))
    assert hook.test_connection()[1].endswith("has no URL: give one as its host")


def test_a_connection_may_name_host_port_and_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "provenance-backend://:key@marquez.example.com:5000/http")

    found = backend_of(ProvenanceBackendHook.get_connection("my_marquez"))

    assert found == ("http://marquez.example.com:5000", "key")
    assert "key" not in repr(found)


def test_a_connection_that_is_not_there_is_told_in_one_line() -> None:
    with pytest.raises(SettingsError, match="there is no connection nowhere: make it in Airflow"):
        read_backend("nowhere")


@pytest.mark.airflow
@pytest.mark.slow
def test_a_feed_delivers_by_a_connection_that_somebody_made_in_airflow(tmp_path: Path) -> None:
    feeds = {"mine": {"type": "marquez", "conn_id": "in_database"}}
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_")},
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__PROVENANCE__FEEDS": json.dumps(feeds),
        "NO_PROXY": "127.0.0.1",
    }
    event = {
        "eventType": "COMPLETE",
        "eventTime": "2013-02-09T05:00:00Z",
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01890a5d-ac96-774b-bcce-b302099a8057"},
        "job": {"namespace": "flights", "name": "flights_month"},
    }
    (tmp_path / "event.json").write_text(json.dumps(event))

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    with MarquezStub() as stub:
        run("airflow", "db", "migrate")
        connection = ("--conn-type", "provenance_backend", "--conn-host", stub.url)
        secret = ("--conn-password", "a-key")
        run("airflow", "connections", "add", "in_database", *connection, *secret)
        run("airflow_provenance.cli", "ingest", str(tmp_path / "event.json"))
        run("airflow_provenance.cli", "forward", "--once")
        (posted,) = [one for one in stub.received if one.request.method == "POST"]

    assert posted.request.headers["Authorization"] == "Bearer a-key"
    assert [one["job"]["name"] for one in stub.events] == ["flights_month"]
