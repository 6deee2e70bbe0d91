"""How fast files are hashed and looked into, against ``sha256sum`` on the same file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance.capture.files import Deadline, inspect_file

if TYPE_CHECKING:
    from collections.abc import Callable

_LATER_US = (1 << 48) * 1000
_FIRST = b"year,month,carrier,dest,arr_delay,name\n"
_ROWS = {
    "bytes.bin": b"2013,1,UA,IAH,11,no quotes at all\n",
    "plain.csv": b"2013,1,UA,IAH,11,no quotes at all\n",
    "quoted.csv": b'2013,1,"UA","IAH",11,"a name, quoted"\n',
    "lines.jsonl": b'{"year": 2013, "carrier": "UA", "dest": "IAH", "arr_delay": 11}\n',
}


def run(server: str | None, *, megabytes: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of the best round, and the speed as a share of ``sha256sum``'s."""
    binary = shutil.which("sha256sum")
    found: dict[str, Any] = {"megabytes": megabytes, "files": {}}
    with tempfile.TemporaryDirectory(prefix="provenance-hashing-") as folder:
        for name, row in _ROWS.items():
            path = Path(folder) / name
            block = row * ((1 << 20) // len(row))
            with path.open("wb") as file:
                file.write(_FIRST if name.endswith(".csv") else b"")
                for _ in range(megabytes):
                    file.write(block)
            figures: dict[str, Any] = {"ours_seconds": _best(rounds, lambda p=path: _look(p))}
            if binary is not None:
                command = [binary, str(path)]
                figures["sha256sum_seconds"] = _best(
                    rounds, lambda c=command: subprocess.run(c, check=True, capture_output=True)
                )
                figures["share"] = figures["sha256sum_seconds"] / figures["ours_seconds"]
            structure = inspect_file(path, "input", _LATER_US, Deadline(600)).structure
            figures["rows"] = None if structure is None else structure.rows
            found["files"][name] = figures
            path.unlink()
    return found


def text(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [f"Hashing: files of {result['megabytes']} MB, best round"]
    for name, figures in result["files"].items():
        share = f"{figures['share']:.0%} of sha256sum" if "share" in figures else "no sha256sum"
        speed = result["megabytes"] / figures["ours_seconds"]
        lines.append(f"  {name:12} {speed:7.0f} MB/s  {share}  rows: {figures['rows']}")
    return "\n".join(lines)


def _look(path: Path) -> None:
    content = inspect_file(path, "input", _LATER_US, Deadline(600))
    if content.digest is None:
        raise RuntimeError(content.reason)


def _best(rounds: int, work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
