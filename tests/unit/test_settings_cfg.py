"""Settings in airflow.cfg: read without Airflow where that gives the same, with it elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provenance import settings
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

IS_IMPORTED = "; print('airflow' in sys.modules)"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("AIRFLOW_", "OPENLINEAGE_")):
            monkeypatch.delenv(name)
    # A test before this one may have imported it, and it keeps the configuration it was born with.
    monkeypatch.delitem(sys.modules, "airflow", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def configure(home: Path, text: str) -> None:
    (home / "airflow.cfg").write_text(text)
    settings._parsed.cache_clear()


def told(expression: str) -> list[str]:
    """Evaluate an expression in a process of its own; then whether it imported Airflow."""
    code = f"import sys; from airflow_provenance import settings; print({expression}){IS_IMPORTED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-2:]


def test_a_file_answers_without_airflow(home: Path) -> None:
    configure(home, "[provenance]\nraw_retention_days = 7\n")

    assert told("settings.raw_retention_days()") == ["7", "False"]


def test_the_default_and_no_file_answer_without_airflow() -> None:
    assert told("settings.raw_retention_days()") == ["30", "False"]


def test_a_command_is_airflows_to_run(home: Path) -> None:
    configure(home, "[provenance]\nstore_cmd = printf sqlite:////from/a/command.db\n")

    assert told("settings.store()") == ["sqlite:////from/a/command.db", "True"]


def test_a_command_in_the_environment_is_airflows_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__STORE_CMD", "printf sqlite:////from/it.db")

    assert told("settings.store()") == ["sqlite:////from/it.db", "True"]


def test_a_secret_is_airflows_to_fetch(home: Path) -> None:
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    (home / "variables.json").write_text("{}")
    configure(
        home,
        f"[secrets]\nbackend = {backend}\n"
        f'backend_kwargs = {{"variables_file_path": "{home}/variables.json"}}\n'
        "[provenance]\nstore_secret = no-such-secret\n",
    )

    # This backend has no configuration to give, so that Airflow falls back: what counts is that it
    # was asked.
    assert told("settings.store()") == [f"sqlite:///{home}/provenance/provenance.db", "True"]


def test_other_options_of_a_file_with_a_command_need_no_airflow(home: Path) -> None:
    configure(home, "[provenance]\nstore_cmd = exit 1\nraw_retention_days = 7\n")

    assert told("settings.raw_retention_days()") == ["7", "False"]


def test_doubled_percent_signs_are_one_with_and_without_airflow(home: Path) -> None:
    url = "postgresql://ann:p%40ss@host/db"
    configure(home, f"[provenance]\nstore = {url.replace('%', '%%')}\n")

    assert settings.store() == url
    assert told("settings.store()") == [url, "False"]
    code = "__import__('airflow.sdk') and settings.store()"
    assert told(code) == [url, "True"]


def test_a_value_over_many_lines_is_read_whole(home: Path) -> None:
    configure(home, "[provenance]\nredact_patterns =\n  a{1,2}\n  \\d%%\n")

    assert [pattern.pattern for pattern in settings.redact_patterns()] == ["a{1,2}", r"\d%"]


def test_an_empty_value_is_the_default(home: Path) -> None:
    configure(home, "[provenance]\nraw_retention_days =\n")

    assert settings.raw_retention_days() == 30


def test_the_environment_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, "[provenance]\nraw_retention_days = 7\n[openlineage]\nnamespace = of-file\n")
    assert (settings.raw_retention_days(), settings.namespace()) == (7, "of-file")

    monkeypatch.setenv("AIRFLOW__PROVENANCE__RAW_RETENTION_DAYS", "8")
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "of-environment")

    assert (settings.raw_retention_days(), settings.namespace()) == (8, "of-environment")


def test_the_file_is_where_airflow_looks_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "mine.cfg").write_text("[provenance]\nraw_retention_days = 9\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AIRFLOW_CONFIG", "~/mine.cfg")

    assert settings.raw_retention_days() == 9


def test_a_transport_is_read_from_the_file(home: Path) -> None:
    configure(home, '[openlineage]\ntransport = {"type":\n  "http", "url": "a%%20b"}\n')

    assert settings.openlineage_transport() == {"type": "http", "url": "a%20b"}


BROKEN = {
    "no section": b"raw_retention_days = 7\n",
    "not UTF-8": b"[provenance]\nstore = \xff\n",
    "a line that is no option": b"[provenance]\nraw_retention_days\nagain\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_in_one_line_that_names_it(home: Path, kind: str) -> None:
    (home / "airflow.cfg").write_bytes(BROKEN[kind])
    settings._parsed.cache_clear()

    with pytest.raises(SettingsError) as caught:
        settings.raw_retention_days()

    assert str(caught.value).startswith(f"{home}/airflow.cfg cannot be read: ")
    assert "\n" not in str(caught.value)
