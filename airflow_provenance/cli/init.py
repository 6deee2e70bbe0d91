"""``init``: the settings that send Airflow's events through our transport."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings
from airflow_provenance.cli.output import say, say_json, tell
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    import argparse

TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
_ENV_VAR = "AIRFLOW__OPENLINEAGE__{}"


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="the settings this Airflow needs")
    parser.add_argument("--write", action="store_true", help="write them into airflow.cfg")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    current = settings.openlineage_transport()
    transport = wanted_transport(current)
    wanted = {"transport": json.dumps(transport)}
    if settings.openlineage_in_thread() is None:
        # A fork cannot ask for what its parent was asking for; a thread can, and costs less.
        wanted["execute_in_thread"] = "True"
    config = Path(os.environ.get("AIRFLOW_CONFIG") or settings.airflow_home() / "airflow.cfg")
    config = config.expanduser()
    if options.write:
        return _run_write(config, wanted, overruled=current != transport, options=options)
    if options.json:
        say_json(_answer(wanted))
        return 0
    if current == transport and "execute_in_thread" not in wanted:
        say("Nothing is to be done: Airflow's settings have it already.")
        return 0
    say("Put this into airflow.cfg (or let 'airflow-provenance init --write' do it):")
    say()
    say("[openlineage]")
    for name, text in wanted.items():
        say(f"{name} = {text}")
    say()
    say("or into the environment of every Airflow process:")
    say()
    for name, text in wanted.items():
        say(f"{_ENV_VAR.format(name.upper())}='{text}'")
    return 0


def _answer(wanted: dict[str, str], written: str | None = None) -> dict[str, Any]:
    return {
        "transport": json.loads(wanted["transport"]),
        "execute_in_thread": "execute_in_thread" in wanted or settings.openlineage_in_thread(),
        "written": written,
    }


def _run_write(
    config: Path, wanted: dict[str, str], *, overruled: bool, options: argparse.Namespace
) -> int:
    backup = _write(config, wanted)
    variable = _ENV_VAR.format("TRANSPORT")
    overruled = overruled and bool(os.environ.get(variable))
    if overruled:
        tell(f"{variable} is set and goes before airflow.cfg: unset it.")
    if options.json:
        say_json(_answer(wanted, str(config) if backup else None))
    elif backup:
        names = " and ".join(wanted)
        say(f"Wrote [openlineage] {names} into {config}; as it was: {backup.name}.")
        say("Restart Airflow, then run 'airflow-provenance doctor'.")
    else:
        say(f"Nothing to change in {config}.")
    return 1 if overruled else 0


def wanted_transport(current: dict[str, Any] | None) -> dict[str, Any]:
    """Return the transport to configure: ours, beside the one that is there.

    A transport that the user had goes on getting every event, as a sibling in a ``composite``.
    """
    if current is None or current == TRANSPORT:
        return dict(TRANSPORT)
    if current.get("type") == "composite":
        transports = current.get("transports") or {}
        members = transports.values() if isinstance(transports, dict) else transports
        if any(one.get("type") == TRANSPORT["type"] for one in members):
            return current
    return {
        "type": "composite",
        "continue_on_failure": True,
        "transports": {"provenance": dict(TRANSPORT), "previous": current},
    }


def _write(config: Path, wanted: dict[str, str]) -> Path | None:
    """Set options in airflow.cfg, leaving every other line as it is; return where it was kept.

    Airflow makes its keys (``fernet_key``, ``jwt_secret``) only when it makes the file: one made
    here would leave it without, and its parts would not trust each other.
    """
    if not config.exists():
        _let_airflow_make(config)
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
        changed = lines
        # Each goes to the top of its section: the transport, always wanted, stays there.
        for name, value in reversed(wanted.items()):
            changed = with_option(changed, "openlineage", name, value)
        if changed == lines:
            return None
        backup = _free(config.with_name(f"{config.name}.bak"))
        backup.touch(mode=0o600)  # airflow.cfg holds passwords: never open to others
        shutil.copy(config, backup)
        config.write_text("\n".join(changed) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {config}: {error.strerror}") from error
    return backup


def _free(backup: Path) -> Path:
    """Return a name that no file has: an earlier backup may be of the file as its user made it."""
    number, free = 1, backup
    while free.exists():
        number += 1
        free = backup.with_name(f"{backup.name}.{number}")
    return free


def _let_airflow_make(config: Path) -> None:
    command = [sys.executable, "-m", "airflow", "config", "get-value", "core", "dags_folder"]
    subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603 - our own arguments
    if not config.exists():
        raise SettingsError(
            f"{config} does not exist and Airflow did not make it: start Airflow once, or set "
            f"{_ENV_VAR} instead"
        )


def with_option(lines: list[str], section: str, name: str, value: str) -> list[str]:
    """Return the lines of an airflow.cfg with one option set, every other line as it was."""
    option = f"{name} = {value.replace('%', '%%')}"
    starts = (i for i, line in enumerate(lines) if line.startswith(f"[{section}]"))
    start = next(starts, None)
    if start is None:
        return [*lines, "", f"[{section}]", option] if lines else [f"[{section}]", option]
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("[")), len(lines))
    kept, inside = [], False
    for line in lines[start + 1 : end]:
        if line.strip() and line[0] not in "#;":
            # An option goes on over the indented lines below it, whatever stands between them.
            option_is_ours = re.match(rf"{name}\s*[=:]", line, re.IGNORECASE)
            inside = bool(option_is_ours) or (inside and line[0].isspace())
            if inside:
                continue
        kept.append(line)
    return [*lines[: start + 1], option, *kept, *lines[end:]]
