"""``/sla/alerts`` and ``/sla/actions``: what is broken, who was told, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request

from airflow_provenance.alerts.actions import act, read_action
from airflow_provenance.alerts.listing import action_json, active, alert_json, channels_json
from airflow_provenance.api.acting import Acting
from airflow_provenance.api.datamodels.alerts import (
    ActedResponse,
    ActionRequest,
    ActionResponse,
    AlertsResponse,
)
from airflow_provenance.api.parameters import CurrentViewer, Id
from airflow_provenance.api.promises import Seen, SeenPromises
from airflow_provenance.domain.alert import Alert
from airflow_provenance.errors import AccessError, RequestError, SettingsError, SubjectError

router = APIRouter(tags=["sla"])


def _acting(seen: Seen, viewer: CurrentViewer) -> Acting:
    if not viewer.can_act:
        raise AccessError("your token lacks the scope act")
    return Acting(seen, viewer)


MayAct = Annotated[Acting, Depends(_acting)]


@router.get("/sla/alerts", response_model=AlertsResponse)
def list_alerts(request: Request, seen: Seen, viewer: CurrentViewer) -> dict[str, Any]:
    """Tell what is broken or at risk, the oldest first: who was told of it, or why nobody was."""
    whole, now_us = seen.whole, request.app.state.clock.now_us()
    routing = request.app.state.routing()
    state, actions = whole.alert_state(), whole.actions(now_us)
    shown = [one for one in active(state) if _is_seen(seen, viewer, one)]
    hidden = seen.hidden({run for one in shown for run in one.change.runs})
    targets = {row.policy_id: seen.target(row) for row in seen.rows}
    alerts = []
    for one in shown:
        told = alert_json(
            *(one, state, routing.routes, actions),
            is_seen=lambda each: _is_seen(seen, viewer, each),
        )
        target = targets.get(one.change.policy_id)
        if target is not None and not hidden.of(target).isdisjoint(one.change.runs):
            told["period"] = ""
        alerts.append(told)
    states = whole.channel_states() if viewer.is_admin() else ()
    names = routing.channels if viewer.is_admin() else ()
    return {
        "alerts": alerts,
        "channels": channels_json(names, states, now_us),
        "actions": [action_json(one) for one in Acting(seen, viewer).seen(actions)],
    }


def _is_seen(seen: SeenPromises, viewer: CurrentViewer, alert: Alert) -> bool:
    """Whether the promise of an alert is seen; one in force no more, or of a channel, by few."""
    if viewer.is_admin():
        return True
    row = next((one for one in seen.rows if one.policy_id == alert.change.policy_id), None)
    return row is not None and str(seen.target(row)) == alert.change.target


@router.post("/sla/actions", response_model=ActedResponse, status_code=201)
def add_action(
    request: Request, seen: Seen, viewer: CurrentViewer, may: MayAct, asked: ActionRequest
) -> dict[str, Any]:
    """Acknowledge, silence or excuse what is broken; the author is who asks.

    Who may change a DAG may say so of its promises: name one, or the DAG, among the matchers.
    """
    now_us = request.app.state.clock.now_us()
    try:
        said = read_action(
            *(asked.kind, asked.matchers, viewer.name, asked.reason, asked.until), now_us
        )
    except SettingsError as error:
        raise RequestError(str(error)) from error
    made = act(seen.whole, may.bound(said))
    known = {row.policy_id for row in seen.rows}
    met = [one for one in made.policies if one in known or viewer.is_admin()]
    return {**action_json(made.action), "alerts": met}


@router.delete("/sla/actions/{action}", response_model=ActionResponse)
def end_action(request: Request, seen: Seen, may: MayAct, action: Id) -> dict[str, Any]:
    """End an acknowledgement, a silence or an excuse that is in force."""
    now_us = request.app.state.clock.now_us()
    found = next((one for one in may.seen(seen.whole.actions(now_us)) if one.id == action), None)
    if found is None:
        raise SubjectError(f"{action} is not in force, or not for you")
    may.bound(found)
    if not seen.whole.end_action(action, now_us):
        raise SubjectError(f"{action} is not in force, or not for you")
    return action_json(msgspec.structs.replace(found, until_us=now_us))
