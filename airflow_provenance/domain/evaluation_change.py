"""One change of how a promise stands, as the service records it and the alerts read it.

`sla.evaluation` is the verdict of a moment. Here is what is kept of the verdicts of one period: a
row for each change, never changed again. ``seq`` grows in the order in which they were written.
"""

from __future__ import annotations

import msgspec

# What the periods of burn rates begin with: ``burn/page`` is how fast an error budget is used up.
BURN = "burn/"


class EvaluationChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a promise stands for a period from now on.

    Attributes:
        seq: its place among all changes; 0 until it is written.
        at_us: when it was written.
        period: what it is about: a run's ``dag/run_id``, a local due instant, or a window's end.
        state: a `sla.evaluation.State`.
        breached_us: when the promise broke; ``detected_us`` when that was first noticed.
        recovered_us: when it was made good.
        runs: the numbers of the runs it was computed from.
        cause: why what was expected did not come, where that is known.
        target: what the promise is about: ``dag:orders``, ``task:orders.load``, ``dataset:...``.
    """

    policy_id: str
    revision: str
    period: str
    state: str
    severity: str = "ticket"
    owner: str | None = None
    notify: tuple[str, ...] = ()
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_us: int | None = None
    breached_us: int | None = None
    detected_us: int | None = None
    recovered_us: int | None = None
    runs: tuple[int, ...] = ()
    cause: str | None = None
    target: str
    seq: int = 0
    at_us: int = 0

    @property
    def is_burn(self) -> bool:
        """Whether it is about how fast an error budget is used up."""
        return self.period.startswith(BURN)
