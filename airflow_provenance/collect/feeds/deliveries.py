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
    of_run_id,
    own_run,
    sent_entries,
    with_raw,
)
from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.domain.run import RunState
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
    if entry.event_type == "START" and _comes_after_the_end(store, entry, run, sent_seq):
        yield Delivery(entry, 0)


def success_before_override(
    store: Store, entry: LogEntry, run: RunView, sent_seq: int
) -> Iterator[Delivery]:
    """Send a COMPLETE that came after somebody set another state: what was written is written."""
    if (
        entry.event_type == "COMPLETE"
        and run.execution_state == RunState.COMPLETE != run.state
        and _comes_after_the_end(store, entry, run, sent_seq)
    ):
        yield Delivery(entry, 0)


def _comes_after_the_end(store: Store, entry: LogEntry, run: RunView, sent_seq: int) -> bool:
    """Whether the end of the entry's run was sent, and no event of the entry's type."""
    sent = of_run_id(store, run, entry, sent_entries(store.run_entries(run.id), entry, sent_seq))
    if any(one.event_type == entry.event_type for one in sent):
        return False
    is_told = any(one.event_type in TERMINAL for one in sent)
    return is_told or end_by_notes(store, run, sent_seq) is not None


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


def children_again(
    store: Store, entry: LogEntry, run: RunView, sent_seq: int
) -> Iterator[Delivery]:
    """Send queries again that were sent before their task: Marquez made up another parent."""
    if entry.kind == "note" or not isinstance(run.key, TaskRunKey):
        return
    if any(one.kind == "run_event"
           for one in sent_entries(store.run_entries(run.id), entry, sent_seq)):  # fmt: skip
        return
    for child in store.children(run.id):
        last = _last_sent(store, child, sent_seq)
        if last is not None:
            yield Delivery(last, max(entry.seq, sent_seq))


def newest_again(store: Store, entry: LogEntry, run: RunView, sent_seq: int) -> Iterator[Delivery]:
    """Send ends of newer runs again, where this one's event took their place.

    That is of the job's newest run, whose inputs and outputs are the job's, also while another one
    runs that cannot tell its own yet; of the newest writer of each dataset, whose version is the
    current one; and of the newest that checked a dataset, whose outcomes are shown. What is newer
    and not yet sent needs nothing: its turn comes.
    """
    sent_seq = max(sent_seq, entry.seq)
    newer: dict[int, RunView] = {}
    waiting = [run]
    while waiting:
        by = waiting.pop()
        found = _replaced_by(store, by, sent_seq)
        if by is run and not ends_sent(store, run, sent_seq):
            found = (one for one in [store.newest_run(run.job)] if one is not None)
        for one in found:
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


BEFORE: tuple[Step, ...] = (start_before_end, success_before_override)
AFTER: tuple[Step, ...] = (end_told_by_a_note, children_again, newest_again)


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
