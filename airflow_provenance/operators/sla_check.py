"""``SlaCheckOperator``: lets a DAG go on only where promises are kept.

    SlaCheckOperator(task_id="orders_kept", target="dataset:pg/orders", on_breach="skip")

`airflow_provenance.sla` has the promises; they are judged now, from what was recorded.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provenance.errors import PolicyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provenance.sla.check import Answer, Asked, Stands
    from airflow_provenance.sla.policy import Policy

_ON_BREACH = ("fail", "skip", "warn")
_EVERY_SECONDS = 1.0


class SlaCheckOperator(BaseOperator):
    """Judges promises now, each by the newest of its periods that is decided.

    Where one is broken, ``on_breach`` says what becomes of the task. ``fail`` fails it for good: a
    retry would find the same. A promise of which nobody can say how it stands (nothing was written,
    the DAG is paused) is told in a line, and breaks nothing unless `needs_data`.

    Returns how the promises stand, one object each.

    Args:
        policy: a promise, or several, that need not be in force elsewhere.
        sla_ids: promises in force, by their ids (templated).
        target: promises in force, all about this: ``dataset:NAME``, ``dag:ID``, ``task:DAG.TASK``
            or ``job:NAME`` (templated).
        on_breach: ``fail``, ``skip`` or ``warn``.
        needs_data: whether what nobody can judge counts as broken.
        settle: how long to wait at most until what the tasks before this one did is recorded: it
            is on its way when they end.
        kwargs: of every operator.
    """

    template_fields: Sequence[str] = ("sla_ids", "target")
    ui_color = "#f0e6e0"

    def __init__(
        self,
        *,
        policy: Policy | Sequence[Policy] | None = None,
        sla_ids: str | Sequence[str] = (),
        target: str | None = None,
        on_breach: str = "fail",
        needs_data: bool = False,
        settle: timedelta | float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if policy is None and not sla_ids and target is None:
            raise PolicyError(f"{self.task_id}: give policy=, sla_ids= or target=")
        if on_breach not in _ON_BREACH:
            raise PolicyError(f"{self.task_id}: on_breach is one of {', '.join(_ON_BREACH)}")
        self.policy = policy
        self.sla_ids = sla_ids
        self.target = target
        self.on_breach = on_breach
        self.needs_data = needs_data
        self.settle = settle.total_seconds() if isinstance(settle, timedelta) else float(settle)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Judge the promises."""
        import msgspec

        from airflow_provenance.sla.check import in_words

        answer = self._answer(context)
        broken = [one for one in answer.promises if self._breaks(one)]
        for one in answer.promises:
            if one.is_unknown and one not in broken:
                self.log.warning("Nobody can say whether it is kept: %s", in_words([one]))
        if not broken:
            self.log.info("Not broken: %s", ", ".join(one.policy for one in answer.promises))
        elif self.on_breach == "warn":
            self.log.warning("Broken: %s", in_words(broken))
        elif self.on_breach == "skip":
            raise AirflowSkipException(f"Broken: {in_words(broken)}")
        else:
            raise AirflowFailException(f"Broken: {in_words(broken)}")
        found: list[dict[str, Any]] = msgspec.to_builtins(answer.promises)
        return found

    def _breaks(self, one: Stands) -> bool:
        return one.is_broken or (self.needs_data and one.is_unknown)

    def _answer(self, context: Context) -> Answer:
        from airflow_provenance import wiring

        asked, until = self._asked(context), time.monotonic() + self.settle
        while True:
            try:
                answer = wiring.ask_promises(asked)
            except (PolicyError, SettingsError) as error:
                raise AirflowFailException(str(error)) from error
            if not answer.waiting:
                return answer
            if time.monotonic() >= until:
                self.log.warning(
                    "What %s did is not recorded after %g s: judged without it. Does a service "
                    "drain this host's spool?",
                    ", ".join(answer.waiting),
                    self.settle,
                )
                return answer
            time.sleep(_EVERY_SECONDS)

    def _asked(self, context: Context) -> Asked:
        from airflow_provenance.sla.check import Asked, Upstream
        from airflow_provenance.sla.policy import Policy, to_plain

        given = [self.policy] if isinstance(self.policy, Policy) else (self.policy or ())
        ti, upstream = context["ti"], None
        if self.upstream_task_ids and self.settle > 0:
            tasks = tuple(sorted(self.upstream_task_ids))
            upstream = Upstream(dag=ti.dag_id, run_id=ti.run_id, tasks=tasks)
        return Asked(
            ids=(self.sla_ids,) if isinstance(self.sla_ids, str) else tuple(self.sla_ids),
            target=self.target,
            policies=tuple(to_plain(one) for one in given),
            upstream=upstream,
        )
