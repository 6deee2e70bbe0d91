"""Any other OpenLineage endpoint: events as they came, in an order that leaves no run open.

Files and consoles get every event as it came (`RULES_AS_IS`): they keep a record, not a state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.formats.shaping.common import late_rides_on_terminal
from airflow_provenance.formats.shaping.event import Event, Facts, apply_rules

if TYPE_CHECKING:
    from airflow_provenance.formats.shaping.event import Rule

RULES: tuple[Rule, ...] = (late_rides_on_terminal,)
RULES_AS_IS: tuple[Rule, ...] = ()


def shape(event: Event, facts: Facts) -> Event | None:
    """Return an event as an endpoint is to get it."""
    return apply_rules(RULES, event, facts)
