"""``init``: the settings that send Airflow's events through our transport."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings
from airflow_provenance.cli.output import say, say_json, tell
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    import argparse

TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
_ENV_VAR = "AIRFLOW__OPENLINEAGE__TRANSPORT"


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="the settings this Airflow needs")
    parser.add_argument("--write", action="store_true", help="write them into airflow.cfg")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    current = settings.openlineage_transport()
    transport = wanted_transport(current)
    text = json.dumps(transport)
    config = Path(os.environ.get("AIRFLOW_CONFIG") or settings.airflow_home() / "airflow.cfg")
    config = config.expanduser()
    if options.write:
        _write(config, text)
        if os.environ.get(_ENV_VAR) and current != transport:
            tell(f"{_ENV_VAR} is set and goes before airflow.cfg: unset it.")
    if options.json:
        say_json({"transport": transport, "written": str(config) if options.write else None})
        return 0
    if options.write:
        say(f"Wrote [openlineage] transport into {config}; a file before is {config.name}.bak.")
        say("Restart Airflow, then run 'airflow-provenance doctor'.")
        return 0
    say("Put this into airflow.cfg (or let 'airflow-provenance init --write' do it):")
    say()
    say("[openlineage]")
    say(f"transport = {text}")
    say()
    say("or into the environment of every Airflow process:")
    say()
    say(f"{_ENV_VAR}='{text}'")
    return 0


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


def _write(config: Path, transport: str) -> None:
    """Set the option in airflow.cfg, leaving every other line as it is."""
    try:
        lines = config.read_text(encoding="utf-8").splitlines() if config.exists() else []
        changed = with_transport(lines, transport)
        if changed == lines:
            return  # a second time must not put the first one's result in the place of the backup
        if config.exists():
            backup = config.with_name(f"{config.name}.bak")
            backup.touch(mode=0o600)  # airflow.cfg holds passwords: never open to others
            shutil.copy(config, backup)
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("\n".join(changed) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {config}: {error.strerror}") from error


def with_transport(lines: list[str], transport: str) -> list[str]:
    """Return the lines of an airflow.cfg with ``[openlineage] transport`` set."""
    option = f"transport = {transport.replace('%', '%%')}"
    starts = (i for i, line in enumerate(lines) if line.startswith("[openlineage]"))
    start = next(starts, None)
    if start is None:
        return [*lines, "", "[openlineage]", option] if lines else ["[openlineage]", option]
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("[")), len(lines))
    kept, inside = [], False
    for line in lines[start + 1 : end]:
        if line.strip() and line[0] not in "#;":
            # An option goes on over the indented lines below it, whatever stands between them.
            option_is_ours = re.match(r"transport\s*[=:]", line, re.IGNORECASE)
            inside = bool(option_is_ours) or (inside and line[0].isspace())
            if inside:
                continue
        kept.append(line)
    return [*lines[: start + 1], option, *kept, *lines[end:]]
