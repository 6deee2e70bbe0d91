"""A notice of nothing: to see whether a channel delivers, with its end, so that nothing stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.alerts.message import message_of
from airflow_provenance.domain.alert import Item, Notice
from airflow_provenance.domain.clock import SystemClock

if TYPE_CHECKING:
    from airflow_provenance.alerts.message import Cleaner, Message


def trial(channel: str, clean: Cleaner) -> list[Message]:
    """Return a notice that says that it is a test, and the one that ends it."""
    now_us = SystemClock().now_us()
    item = Item(
        fingerprint="test",
        policy="test-notice",
        target=f"channel:{channel}",
        state="breached",
        breached_us=now_us,
        cause="nothing is wrong: this is a test",
    )
    ended = Item(fingerprint="test", policy=item.policy, target=item.target, state="ok")
    incident = f"airflow-provenance-test-{now_us}"
    begins = Notice(
        incident=incident,
        transition=1,
        kind="firing",
        channel=channel,
        at_us=now_us,
        firing=(item,),
    )
    ends = Notice(
        incident=incident,
        transition=2,
        kind="resolved",
        channel=channel,
        at_us=now_us + 1,
        resolved=(ended,),
    )
    return [message_of(one, clean) for one in (begins, ends)]
