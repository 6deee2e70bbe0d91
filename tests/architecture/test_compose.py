"""What `docker/` says holds together: its settings exist, its secrets are nobody's default."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.settings import OPTIONS, SECTION
from tests.support import compose

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = {
    "postgres",
    "prepare",
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
    "provenance",
    "seed",
    "marquez",
    "marquez-web",
}
ONCE = {"prepare", "seed"}


def make_env(path: Path) -> dict[str, str]:
    script = compose.FOLDER / "make_env.py"
    subprocess.run([sys.executable, script, path], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_env(tmp_path_factory.mktemp("secrets") / ".env")


@pytest.fixture(scope="module")
def services(secrets: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = compose.read(secrets)["services"]
    return found


def test_every_service_is_there_and_has_only_what_compose_knows(services: dict[str, Any]) -> None:
    known = {
        "image",
        "build",
        "command",
        "environment",
        "volumes",
        "depends_on",
        "restart",
        "healthcheck",
        "ports",
        "platform",
    }
    assert set(services) == SERVICES
    assert {key for service in services.values() for key in service} <= known


def test_every_image_of_others_is_pinned_by_tag_and_digest(services: dict[str, Any]) -> None:
    images = [one["image"] for one in services.values() if "build" not in one]
    (base,) = re.findall(r"^FROM (\S+)$", (compose.FOLDER / "Dockerfile").read_text(), re.MULTILINE)

    for image in [*images, base]:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image


def test_the_image_has_the_airflow_that_the_lock_has() -> None:
    lock = (compose.FOLDER.parent / "requirements.lock").read_text()
    (locked,) = re.findall(r"^apache-airflow==(\S+)", lock, re.MULTILINE)

    assert f"FROM apache/airflow:{locked}-python3" in (compose.FOLDER / "Dockerfile").read_text()


def test_what_runs_on_is_checked_and_others_wait_for_what_they_need(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ONCE), name
        for needed, waits in service.get("depends_on", {}).items():
            ends = needed in ONCE
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert waits == {"condition": wanted}, (name, needed)


def test_only_this_machine_reaches_any_port(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_named_volume_is_declared(secrets: dict[str, str]) -> None:
    whole = compose.read(secrets)
    mounted = {
        volume.partition(":")[0]
        for service in whole["services"].values()
        for volume in service.get("volumes", [])
    }

    assert {one for one in mounted if not one.startswith(".")} == set(whole["volumes"])
    for path in mounted - set(whole["volumes"]):
        assert (compose.FOLDER / path).is_file()


@pytest.mark.parametrize("name", sorted(compose.variables()))
def test_compose_refuses_to_start_without_a_secret(secrets: dict[str, str], name: str) -> None:
    with pytest.raises(compose.NotSetError, match=f"{name}: run .*make_env.py first"):
        compose.read({**secrets, name: ""})


def test_no_password_stands_in_a_file(secrets: dict[str, str]) -> None:
    assert set(secrets) == compose.variables()
    named = re.compile(
        r"(?im)^ *\w*(?:password|secret|key|token): *(?P<value>\S.*)|://\w+:(?P<in_url>\S+)"
    )
    for path in (compose.FILE, compose.FOLDER / "marquez.yml"):
        for found in named.finditer(path.read_text()):
            value = found["value"] or found["in_url"]
            # A port follows a host.
            assert value.startswith("${") or re.match(r"\d+\b", value), found.group()


def test_secrets_are_random_long_their_owners_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    first, other = make_env(path), make_env(tmp_path / "other")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not {*first.values()} & {*other.values()}
    assert all(len(value) >= 44 for value in first.values())
    assert make_env(path) == first


def test_git_and_the_image_leave_the_secrets_out() -> None:
    root = compose.FOLDER.parent
    assert "/docker/.env" in (root / ".gitignore").read_text().splitlines()
    ignored = (compose.FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [one for one in ignored if one.startswith("!") and "env" in one]


def test_what_the_image_is_built_from_is_there() -> None:
    root = compose.FOLDER.parent
    lines = (compose.FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    for pattern in (line[1:] for line in lines if line.startswith("!")):
        assert [*root.glob(pattern)], pattern


def test_every_setting_of_airflow_and_ours_exists(services: dict[str, Any]) -> None:
    # With its providers' own, and so in a process that has loaded them.
    from airflow.configuration import conf

    described = conf.configuration_description
    options = {
        (section, option)
        for section, about in described.items()
        for option in about.get("options", {})
    } | {(SECTION, name) for name in OPTIONS}
    set_here = {
        tuple(name.lower().split("__")[1:])
        for service in services.values()
        for name in service.get("environment", {})
        if name.startswith("AIRFLOW__")
    }

    assert len(set_here) > 10
    assert {section for section, _ in set_here} >= {"core", "openlineage", SECTION}
    assert set_here - options == set()
