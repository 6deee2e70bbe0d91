"""README and docs/, read as tests need them: blocks, commands, tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a line of a block begins with that a reader would type.
_TYPED = re.compile(r"(?:\w+=\S+ +)*(?:airflow-provenance|airflow|docker|make|pip|\S*python3?) ")

# Commands that are not run here, and why; those of ours are parsed all the same.
NOT_RUN = {
    "make demo": "test_demo runs what it does",
    "make test": "it is what runs this",
    "pip install .": "the package is installed here already",
    "python3 docker/make_env.py": "test_compose runs it",
    "docker compose --file docker/compose.yaml up --build": "no container engine here; test_compose"
    " runs each service's command without one",
    "MARQUEZ_URL=https://marquez.example.com .venv/bin/python -m pytest "
    "tests/contract/test_backends.py": "needs a Marquez; test_backends runs on ours",
}


class Block(NamedTuple):
    """A block of a page: its language, nothing where it is only indented."""

    page: str
    language: str
    text: str


def blocks() -> list[Block]:
    """Return all blocks of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        found += [Block(page.name, one[1], one[2]) for one in fenced.finditer(text)]
        rest = fenced.sub("", text)
        for one in re.finditer(r"(?:(?<=\n\n)|\A)(?: {4}.*\n(?:\n(?= {4}))?)+", rest):
            plain = "".join(line.removeprefix("    ") for line in one[0].splitlines(keepends=True))
            found.append(Block(page.name, "", plain))
    return found


def typed() -> list[str]:
    """Return the commands that blocks hold, without what is said about them."""
    return [
        line.partition("  #")[0].partition(" # ")[0].strip()
        for block in blocks()
        if not block.language
        for line in block.text.splitlines()
        if _TYPED.match(line)
    ]


def named() -> list[list[str]]:
    """Return the words of every command of ours that any page names, in a block or in a line."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    inline = re.findall(r"`(airflow-provenance [^`]+)`", text.replace("\n", " "))
    ours = [one for one in (*typed(), *inline) if one.startswith("airflow-provenance ")]
    return [shlex.split(one)[1:] for one in ours]


def table(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table that has this head."""
    text = (ROOT / page).read_text(encoding="utf-8")
    _, _, after = text.partition(head + "\n")
    lines = after.splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.split("|")[1:-1]])
    return rows
