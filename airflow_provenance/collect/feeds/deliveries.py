"""What goes out for one entry of the log: the event itself, and what it would spoil otherwise.

Backends believe what they received last. So after the event of an older run, newer ones that were
sent go again, and a state that only a note tells goes as an event. In a replay all of this happens,
too: whatever is sent again, what was the newest before it is the newest after it.

Each reason is a function of its own, ``(store, entry, run, sent_seq) -> deliveries``, in `BEFORE`
or `AFTER` the event. `sent_seq` is how far the backend has the log, this entry aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.collect.feeds.checks import (
    checked_versions,
    checks,
    checks_told,
    outcomes_of,
)
from airflow_provenance.collect.feeds.known import (
    end_by_notes,
    ends_sent,
    facts_of,
    own_run,
    sent_entries,
    with_raw,
)
from airflow_provenance.formats.shaping.event import TERMINAL, apply_rules, read, write
from airflow_provenance.formats.shaping.marquez import whole_assertions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provenance.formats.shaping.event import Rule
    from airflow_provenance.store.base import LogEntry, RunView, Store

    Step = Callable[[Store, LogEntry, RunView, int], Iterator["Delivery"]]


class Delivery(NamedTuple):
    """An entry to send, shaped as if the backend had the log until `sent_seq`, but for it."""

    entry: LogEntry
    sent_seq: int


def start_before_end(
    store: Store, entry: LogEntry, run: RunView, sent_seq: int
) -> Iterator[Delivery]:
    """Send a START that came after its run's end: a run lasts from it. Its end goes again then."""
    sent = sent_entries(store.run_entries(run.id), entry, sent_seq)
    if (
        entry.event_type == "START"
        and not any(one.event_type == "START" for one in sent)
        and (any(one.event_type in TERMINAL for one in sent) or end_by_notes(store, run, sent_seq))
    ):
        yield Delivery(entry, 0)


def end_told_by_a_note(
    store: Store, entry: LogEntry, run: RunView, sent_seq: int
) -> Iterator[Delivery]:
    """Send the end of a run that no event tells: its task was killed, or somebody set its state."""
    if entry.kind == "note" and end_by_notes(store, run, entry.seq) is not None:
        last = _last_sent(store, run, sent_seq)
        if last is not None:
            yield Delivery(last, max(entry.seq, sent_seq))


def _last_sent(store: Store, run: RunView, sent_seq: int) -> LogEntry | None:
    """Return the run's last event that was sent: its end goes in place of any."""
    entries = store.run_entries(run.id)
    sent = [one for one in entries if one.seq <= sent_seq and one.kind == "run_event"]
    return with_raw(store, sent[-1]) if sent else None


def newest_again(store: Store, entry: LogEntry, run: RunView, sent_seq: int) -> Iterator[Delivery]:
    """Send ends of newer runs again, where this one's end took their place.

    That is of the job's newest run, whose inputs and outputs are the job's; of the newest writer of
    each dataset, whose version is the current one; and of the newest that checked a dataset, whose
    outcomes are shown. What is newer and not yet sent needs nothing: its turn comes.
    """
    sent_seq = max(sent_seq, entry.seq)
    if not ends_sent(store, run, sent_seq):
        return
    newer: dict[int, RunView] = {}
    waiting = [run]
    while waiting:
        for one in _replaced_by(store, waiting.pop(), sent_seq):
            if one.id != run.id and one.id not in newer and ends_sent(store, one, sent_seq):
                newer[one.id] = one
                waiting.append(one)
    for one in sorted(newer.values(), key=lambda one: (one.ended_us or 0, one.run_uuid or "")):
        last = _last_sent(store, one, sent_seq)
        if last is not None:
            yield Delivery(last, sent_seq)


def _replaced_by(store: Store, run: RunView, sent_seq: int) -> Iterator[RunView]:
    newest = store.newest_run(run.job)
    if newest is not None:
        yield newest
    doc = store.run_doc(run.id)
    writers = [store.newest_version(one) for one in {io.dataset for io in doc.outputs.values()}]
    ids = {one.run_id for one in writers if one is not None and one.run_id is not None}
    yield from store.runs_by_id(ids).values()
    for io in doc.inputs.values():
        if checks([io]):
            versions = checked_versions(store, run, io.dataset, sent_seq, is_output=False)
            yield from (one.run for one in outcomes_of(store, io.dataset, versions)[-1:])


BEFORE: tuple[Step, ...] = (start_before_end,)
AFTER: tuple[Step, ...] = (end_told_by_a_note, newest_again)


def deliveries(store: Store, entry: LogEntry, sent_seq: int) -> Iterator[Delivery]:
    """Return what goes out for an entry, in order.

    Args:
        store: whose log it is in.
        entry: with its bytes.
        sent_seq: how far the backend has the log: to before this entry, or beyond it when a dead
            letter is sent again.
    """
    if entry.raw is None:
        return
    run = own_run(store, entry, None if entry.kind == "note" else read(entry.raw))
    if run is None:
        if entry.kind != "note":
            yield Delivery(entry, sent_seq)
        return
    for step in BEFORE:
        yield from step(store, entry, run, sent_seq)
    if entry.kind != "note":
        yield Delivery(entry, sent_seq)
    for step in AFTER:
        yield from step(store, entry, run, sent_seq)


def bodies(
    store: Store, entry: LogEntry, sent_seq: int, rules: tuple[Rule, ...]
) -> Iterator[bytes]:
    """Return what goes out for an entry, shaped by a backend's rules."""
    for one in deliveries(store, entry, sent_seq):
        event = read(one.entry.raw or b"")
        facts = facts_of(store, one.entry, event, one.sent_seq)
        if whole_assertions in rules and (run := own_run(store, one.entry, event)) is not None:
            told = checks_told(store, run, one.sent_seq)
            facts = msgspec.structs.replace(facts, checks=told)
        shaped = apply_rules(rules, event, facts)
        if shaped is not None:
            yield write(shaped)
