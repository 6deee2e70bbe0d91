"""``init``: which transport Airflow is to use, and how airflow.cfg comes to say so."""

from __future__ import annotations

import configparser
import json
import os
import stat
import subprocess
import sys
from configparser import RawConfigParser
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance import settings
from airflow_provenance.cli import main
from airflow_provenance.cli.init import TRANSPORT, wanted_transport, with_option

if TYPE_CHECKING:
    from pathlib import Path

OURS = json.dumps(TRANSPORT)
HTTP: dict[str, Any] = {"type": "http", "url": "http://marquez:5000/a%20b"}
READ_BACK = """
import sys
from airflow.sdk.configuration import conf
asked = ("openlineage", "transport"), ("openlineage", "execute_in_thread"), ("core", "parallelism")
sys.stdout.write("\\n".join(conf.get(*one) for one in asked))
"""


def test_where_there_is_none_it_is_ours_alone() -> None:
    assert wanted_transport(None) == TRANSPORT
    assert wanted_transport(dict(TRANSPORT)) == TRANSPORT


def test_one_that_was_there_goes_on_as_a_sibling() -> None:
    wanted = wanted_transport(HTTP)

    assert wanted["type"] == "composite"
    assert wanted["continue_on_failure"] is True
    assert list(wanted["transports"].values()) == [TRANSPORT, HTTP]
    # Asked again it stays as it is.
    assert wanted_transport(wanted) == wanted


@pytest.mark.parametrize("transports", [[TRANSPORT, HTTP], {"a": HTTP, "b": TRANSPORT}])
def test_a_composite_that_has_ours_stays_as_it_is(transports: Any) -> None:
    composite = {"type": "composite", "transports": transports}

    assert wanted_transport(composite) is composite


def test_a_composite_without_ours_becomes_a_sibling() -> None:
    composite = {"type": "composite", "transports": [HTTP]}

    assert wanted_transport(composite)["transports"]["previous"] == composite


def changed(text: str) -> str:
    return "\n".join(with_option(text.splitlines(), "openlineage", "transport", OURS))


OTHERS = "# mine\n[core]\nparallelism = 4\ntransport = of core\n"
AFTER = "\n[zebra]\ntransport = of zebra\nurl = a%%20b\n"
SECTIONS = {
    "no section": "",
    "an empty section": "[openlineage]\n",
    "no option": "[openlineage]\nnamespace = shop\n",
    "the option": "[openlineage]\nnamespace = shop\ntransport = {}\ndisabled = False\n",
    "another spelling": "[openlineage] ; ours\nTransport: {}\nnamespace = shop\n",
    "an option over many lines": '[openlineage]\ntransport = {\n  "type":\n\n# here\n  "http"}\n',
    "an option whose name is longer": "[openlineage]\ntransport_options = x\n",
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_option_is_set_and_no_other_is_touched(kind: str) -> None:
    text = OTHERS + SECTIONS[kind] + AFTER
    before, after = read(text), read(changed(text))

    expected = before.setdefault("openlineage", {})
    expected["transport"] = OURS
    assert after == before
    assert "# mine" in changed(text).splitlines()
    # A second time changes nothing.
    assert changed(changed(text)) == changed(text)


def read(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=None)
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def test_a_text_that_only_looks_like_the_section_is_none() -> None:
    text = "[email]\nhelp = write\n  [openlineage]\n  here"

    assert read(changed(text)) == {**read(text), "openlineage": {"transport": OURS}}


def test_an_empty_file_gets_the_section_alone() -> None:
    assert changed("") == f"[openlineage]\ntransport = {OURS}"


def test_percent_signs_are_doubled() -> None:
    assert (
        with_option([], "openlineage", "transport", '{"url": "a%20b"}')[1]
        == 'transport = {"url": "a%%20b"}'
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("AIRFLOW_", "OPENLINEAGE_")):
            monkeypatch.delenv(name)
    # A test before this one may have imported it, and it keeps the configuration it was born with.
    monkeypatch.delitem(sys.modules, "airflow", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def init(*options: str) -> int:
    settings._parsed.cache_clear()  # as in a process of its own
    return main(["init", *options])


def test_without_write_nothing_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init() == 0

    assert f"transport = {OURS}" in capsys.readouterr().out.splitlines()
    assert list(home.iterdir()) == []


def test_what_is_written_is_what_airflow_reads(home: Path) -> None:
    config = home / "airflow.cfg"
    http = json.dumps(HTTP).replace("%", "%%")
    config.write_text(f"[core]\nparallelism = 7\n\n[openlineage]\ntransport = {http}\n")

    assert init("--write") == 0

    told = subprocess.run(
        [sys.executable, "-c", READ_BACK], capture_output=True, text=True, check=True
    )
    transport, in_thread, parallelism = told.stdout.splitlines()[-3:]
    assert json.loads(transport) == wanted_transport(HTTP)
    assert in_thread == "True"
    assert parallelism == "7"


def test_who_wants_forks_keeps_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = home / "airflow.cfg"
    config.write_text("[openlineage]\nexecute_in_thread = False\n")

    assert init("--write", "--json") == 0

    assert json.loads(capsys.readouterr().out)["execute_in_thread"] is False
    assert read(config.read_text())["openlineage"]["execute_in_thread"] == "False"


def test_the_file_before_is_kept_and_no_more_open_than_it_was(home: Path) -> None:
    config, backup = home / "airflow.cfg", home / "airflow.cfg.bak"
    config.write_text("[core]\nfernet_key = secret\n")
    config.chmod(0o600)

    assert init("--write") == 0
    # A second time has nothing to do: the backup is still the user's own.
    assert init("--write") == 0

    assert backup.read_text() == "[core]\nfernet_key = secret\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config, backup)] == [0o600, 0o600]


def test_a_backup_is_never_written_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, backup = home / "airflow.cfg", home / "airflow.cfg.bak"
    config.write_text("[core]\nparallelism = 7\n")
    assert init("--write") == 0
    config.write_text("[core]\nparallelism = 8\n")

    assert init("--write") == 0

    assert "as it was: airflow.cfg.bak.2." in capsys.readouterr().out
    assert backup.read_text() == "[core]\nparallelism = 7\n"
    assert (home / "airflow.cfg.bak.2").read_text() == "[core]\nparallelism = 8\n"


def test_what_is_there_already_is_not_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init("--write") == 0
    capsys.readouterr()

    assert init() == 0

    assert capsys.readouterr().out.startswith("Nothing is to be done")


def test_a_file_that_is_not_there_is_made_by_airflow_with_its_keys(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AIRFLOW_CONFIG", "~/elsewhere/my.cfg")

    assert init("--write", "--json") == 0

    # A file of ours alone would leave Airflow's parts without the key they trust each other by.
    written = RawConfigParser(strict=False)
    written.read(home / "elsewhere" / "my.cfg")
    assert written.get("openlineage", "transport") == OURS
    assert len(written.get("api_auth", "jwt_secret")) > 10
    assert written.get("core", "fernet_key")


def test_a_variable_that_goes_before_the_file_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(HTTP))

    assert init("--write") == 1

    assert "AIRFLOW__OPENLINEAGE__TRANSPORT is set" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("AIRFLOW_CONFIG", f"{home}/file/airflow.cfg")

    assert init("--write") == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert f"{home}/file/airflow.cfg does not exist and Airflow did not make it" in line


@pytest.mark.parametrize("transport", ["no JSON", "[]"])
def test_a_transport_that_is_no_json_object_is_refused(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    transport: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", transport)

    assert init("--write") == 2

    assert "[openlineage] transport is no JSON" in capsys.readouterr().err
    assert list(home.iterdir()) == []
