"""Every store derives the facts that the oracle does, in every order and with any repetition.

A failing seed is told in the name of the test. `PROVENANCE_PROPERTY_SEEDS` sets how many seeds are
tried; `PROVENANCE_PROPERTY_SHRINK=1` drops entries from a failing story until each that is left is
needed, and prints them.
"""

from __future__ import annotations

import json
import os
import random
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.formats.brief import brief_of
from airflow_provenance.store.sql import bulk
from tests.contract.generate import LogEntry, story
from tests.contract.oracle import Json, derive
from tests.contract.support import ingest_all

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = range(int(os.environ.get("PROVENANCE_PROPERTY_SEEDS", "60")))
SHRINK = os.environ.get("PROVENANCE_PROPERTY_SHRINK") == "1"
_MOST_LINES = 40
# What tells an item of the dump from the others of its list.
_IDENTITY = {
    "runs": ("key",),
    "versions": ("dataset", "partition", "writer"),
    "links": ("reader", "dataset", "partition"),
}

each_seed = pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed}")


@pytest.fixture(autouse=True)
def few_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL has one way for few rows and one for many: every other story goes the second."""
    if seed % 2:
        monkeypatch.setattr(bulk, "_FEW", 2)


@cache
def told(seed: int) -> tuple[tuple[LogEntry, ...], Json]:
    """Return the story of a seed and the facts of it, which no test changes."""
    rng = random.Random(seed)
    entries = tuple(story(rng, rng.randint(5, 120)))
    return entries, derive(entries)


@each_seed
def test_a_story_told_at_once_gives_the_facts(store: Any, seed: int) -> None:
    entries, expected = told(seed)
    check(store, seed, list(entries), lambda few: [len(few)], expected)


@each_seed
def test_a_shuffled_story_in_batches_of_any_size_gives_the_facts(store: Any, seed: int) -> None:
    entries, expected = told(seed)
    rng = random.Random(f"shuffled {seed}")
    shuffled = rng.sample(entries, k=len(entries))
    # Every third story comes one by one.
    largest = 1 if seed % 3 == 0 else rng.choice((3, 10, 40))
    check(store, seed, shuffled, lambda few: batch_sizes(seed, len(few), largest), expected)


@each_seed
def test_a_shuffled_story_with_repetitions_gives_the_facts(store: Any, seed: int) -> None:
    entries, expected = told(seed)
    rng = random.Random(f"repeated {seed}")
    repeated = [*entries, *rng.choices(entries, k=rng.randint(1, len(entries)))]
    rng.shuffle(repeated)
    check(store, seed, repeated, lambda few: batch_sizes(seed, len(few), 10), expected)


def batch_sizes(seed: int, total: int, largest: int) -> list[int]:
    """Return random sizes of 1 to `largest` that add up to `total`."""
    rng = random.Random(f"batches {seed}")
    sizes: list[int] = []
    while (left := total - sum(sizes)) > 0:
        sizes.append(min(left, rng.randint(1, largest)))
    return sizes


def check(
    store: Any,
    seed: int,
    entries: list[LogEntry],
    batches_of: Callable[[list[LogEntry]], list[int]],
    expected: Json,
) -> None:
    def facts_of(few: list[LogEntry]) -> Json:
        empty = store.fresh()
        ingest_all(empty, few, batches_of(few))
        facts: Json = empty.dump_facts()
        docs = {view.id: brief_of(doc) for view, doc in empty.scan_runs()}
        assert empty.run_briefs(docs) == docs, f"seed {seed}"
        return facts

    actual = facts_of(entries)
    if actual == expected:
        return
    message = f"seed {seed}: the store's facts (+) differ from the oracle's (-)\n"
    if SHRINK:
        entries = shrink(entries, lambda few: facts_of(few) != derive(few))
        actual, expected = facts_of(entries), derive(entries)
        message += f"shrunk to {len(entries)} entries, ingested in batches {batches_of(entries)}\n"
        message += "\n".join(f"  {kind} {raw.decode()}" for kind, raw in entries) + "\n"
    # Not by `assert actual == expected`: what pytest would print of two dumps is of no use.
    pytest.fail(message + difference(expected, actual), pytrace=False)


def shrink(entries: list[LogEntry], is_failing: Callable[[list[LogEntry]], bool]) -> list[LogEntry]:
    """Drop runs of entries, halving their length, for as long as what is left still fails."""
    size = len(entries) // 2
    while size:
        start = 0
        while start < len(entries):
            fewer = entries[:start] + entries[start + size :]
            if fewer and is_failing(fewer):
                entries = fewer
            else:
                start += size
        size //= 2
    return entries


def difference(expected: Json, actual: Json) -> str:
    """Return only what differs: fields of items that both have, else whole items."""
    lines: list[str] = []
    for section in sorted({*expected, *actual}):
        lines += differing_items(section, expected.get(section, []), actual.get(section, []))
    more = len(lines) - _MOST_LINES
    return "\n".join(lines[:_MOST_LINES] + ([f"... and {more} more lines"] if more > 0 else []))


def differing_items(section: str, expected: list[Any], actual: list[Any]) -> list[str]:
    missing = without(expected, actual)
    extra = without(actual, expected)
    lines: list[str] = []
    for item in missing:
        twins = [other for other in extra if is_twin(section, item, other)]
        if not twins:
            lines.append(f"{section} - {json.dumps(item)}")
            continue
        extra.remove(twins[0])
        name = json.dumps([item[field] for field in _IDENTITY[section]])
        lines += [
            f"{section} {name} {field}: -{item.get(field)!r} +{twins[0].get(field)!r}"
            for field in sorted({*item, *twins[0]})
            if item.get(field) != twins[0].get(field)
        ]
    return lines + [f"{section} + {json.dumps(item)}" for item in extra]


def without(items: list[Any], others: list[Any]) -> list[Any]:
    """Return the items left when each of the others has taken away one that equals it."""
    left = list(items)
    for other in others:
        if other in left:
            left.remove(other)
    return left


def is_twin(section: str, item: Any, other: Any) -> bool:
    fields = _IDENTITY.get(section)
    return fields is not None and all(item.get(name) == other.get(name) for name in fields)
