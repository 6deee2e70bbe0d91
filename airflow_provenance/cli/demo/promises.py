"""The promises of the example DAGs: judged by what was recorded, and told to a file."""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.errors import ProvenanceError
from airflow_provenance.lineage.short import short_paths

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.store.base import Store

_CHANNEL = "notices"
_WIDTH = 84


def notices_file(home: Path) -> Path:
    """Return where people are told, in the demo."""
    return home / "provenance" / "notices.jsonl"


def promise_settings(home: Path) -> dict[str, str]:
    """Return the settings by which people are told: at once, and in a file."""
    channel = {_CHANNEL: {"type": "file", "path": str(notices_file(home))}}
    route = {"name": "all", "channels": [_CHANNEL], "group_wait": "0s", "group_interval": "0s"}
    return {"CHANNELS": json.dumps(channel), "ROUTES": json.dumps([route])}


def judge(store: Store, home: Path, since_us: int) -> list[dict[str, Any]]:
    """Do what the service's roles ``evaluate`` and ``deliver`` do; return the notices.

    Args:
        store: what was recorded.
        home: the demo's.
        since_us: since when the promises hold: when the first DAG began.
    """
    file = notices_file(home)
    before = file.stat().st_size if file.exists() else 0
    # Airflow logs to standard output, where the report stands.
    with contextlib.redirect_stdout(sys.stderr):
        sources = wiring.open_sources(store)
        sources.refresh()
        store.put_policies(sources.rows(), since_us)
        wiring.open_evaluator(store).run_once()
    deliverer = wiring.open_deliverer(store)
    try:
        failed = deliverer.run_once().errors
    finally:
        deliverer.close()
    for channel, error in failed.items():
        raise ProvenanceError(f"the notices could not be told to {channel}: {error}")
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as lines:
        lines.seek(before)
        return [json.loads(line) for line in lines if line.strip()]


def notice_lines(notice: dict[str, Any]) -> list[str]:
    """Return what a notice says, for the report."""
    items = notice["firing"] or notice["resolved"]
    first = items[0]
    affected = dict.fromkeys(each["policy"] for one in items for each in one["affected"])
    told = {
        "promised": f"{first['expected']} of {first['target']}; it is {first['observed']}",
        "cause": short_paths(first["explanation"] or first["cause"] or "not known"),
        "affected": ", ".join(affected),
        "owner": first["owner"] or "",
    }
    lines = [notice["title"]]
    for name, text in told.items():
        for number, line in enumerate(textwrap.wrap(text, _WIDTH)):
            lines.append(f"  {'' if number else name:<9} {line}")
    return lines


def how_they_stand(store: Store, since_us: int) -> str:
    """Return how many promises there are, and how many of them are broken, in a line."""
    changes = store.latest_changes(since_us)
    judged = {one.policy_id for one in changes if one.state != "no_data"}
    broken = {one.policy_id for one in changes if one.state == "breached"}
    return f"Promises: {len(judged)} judged, {len(judged - broken)} kept, {len(broken)} broken"
