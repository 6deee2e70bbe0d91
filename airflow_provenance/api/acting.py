"""What a viewer may say of alerts, and see of what others said.

Who may change a DAG may acknowledge, silence and excuse what is promised of it, and of data that
such DAGs alone write. What is said must name such a promise or DAG, so that it can be of no other
alert, whatever is promised later. Who may act on everything may use any matcher.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from airflow_provenance.alerts.matchers import Matcher, parse_matcher
from airflow_provenance.api.promises import SeenPromises
from airflow_provenance.api.security import Viewer
from airflow_provenance.domain.alert import Action
from airflow_provenance.errors import AccessError
from airflow_provenance.sla.policy import Target

# Values of these name nothing beyond what `policy` and `dag` have named.
_PLAIN = ("policy", "dag", "target", "severity")


class Acting:
    """The rights of a viewer. Lives as long as a request."""

    def __init__(self, seen: SeenPromises, viewer: Viewer) -> None:
        self._seen, self._viewer = seen, viewer
        self._targets = {row.policy_id: seen.target(row) for row in seen.rows}

    def bound(self, action: Action) -> Action:
        """Return an action that is of the alerts alone that the viewer may act on.

        Raises:
            AccessError: that cannot be told of it, or there are none.
        """
        if self._viewer.may_act(None):
            return action
        matchers = [parse_matcher(one) for one in action.matchers]
        if any("~" in one.operator for one in matchers):
            raise AccessError("patterns (=~, !~) are for who may act on everything")
        pins = [one for one in matchers if self._is_pin(one)]
        if not pins:
            raise AccessError(
                "name a promise or a DAG that you may change, as policy=ID or dag=ID; "
                "there is none, or not for you"
            )
        # Another promise may take the name of this one: what was said is not of that.
        of = [f'target="{self._targets[one.value]}"' for one in pins if one.label == "policy"]
        new = [one for one in of if one not in action.matchers]
        return msgspec.structs.replace(action, matchers=(*action.matchers, *new))

    def _is_pin(self, one: Matcher) -> bool:
        if one.operator != "=" or not self._is_seen_pin(one):
            return False
        if one.label == "dag":
            return self._viewer.may_act(one.value)
        return self._may_act_on(self._targets[one.value])

    def _is_seen_pin(self, one: Matcher) -> bool:
        if one.label == "dag":
            return bool(one.value) and self._seen.store.may_read(one.value)
        return one.label == "policy" and one.value in self._targets

    def _may_act_on(self, target: Target) -> bool:
        if target.dag is not None:
            return self._viewer.may_act(target.dag)
        if target.dataset is None:
            return False
        there = self._seen.whole.datasets_named(target.dataset_name)
        writers = {one.dag_id for one in self._seen.whole.dataset_uses(there) if one.writes}
        return bool(writers) and all(
            one is not None and self._viewer.may_act(one) for one in writers
        )

    def seen(self, actions: Iterable[Action]) -> list[Action]:
        """Return what of all that was said may be told: what names nothing that is hidden."""
        return [one for one in actions if self._viewer.is_admin() or self._is_seen(one.matchers)]

    def _is_seen(self, matchers: Sequence[str]) -> bool:
        read = [parse_matcher(one) for one in matchers]
        pins = [one for one in read if one.label in ("policy", "dag")]
        targets = {str(self._targets.get(one.value)) for one in pins if one.label == "policy"}
        return (
            bool(pins)
            and all(one.operator == "=" and one.label in _PLAIN for one in read)
            and all(self._is_seen_pin(one) for one in pins)
            and all(one.value in targets for one in read if one.label == "target")
        )
