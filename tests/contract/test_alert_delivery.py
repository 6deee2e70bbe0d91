"""Notices reach real receivers on loopback: what they are sent, when again, and with no secret."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from airflow_provenance.alerts.channels.known import open_channel, parse_channels
from airflow_provenance.alerts.channels.memory import MemoryChannel
from airflow_provenance.alerts.deliver import CHANNEL_POLICY, Deliverer
from airflow_provenance.alerts.inhibit import nothing_upstream
from airflow_provenance.alerts.message import Cleaner
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.alerts.send import Told
from airflow_provenance.domain.alert import Action
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.errors import ChannelUnavailableError, NoticeRefusedError, SettingsError
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.promises import ConditionRow, PolicyRow
from tests.support.mailbox import mailing
from tests.support.receiver import Answer, Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.alerts.message import Message
    from airflow_provenance.store.base import Store

S = 1_000_000
T0 = 1_772_442_000 * S  # 2026-03-02T09:00:00Z
KEY = "0123456789ABCDEF0123456789ABCDEF"
SECRET_PATH = "services/T000/B000/s3cr3tOfSlack"  # noqa: S105 - nobody's
PASSWORD = "s3cr3t-of-mail"  # noqa: S105
TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"  # noqa: S105
CAUSE = f"Failing row contains (17, Anna Schmidt). token {TOKEN}"


def change(state: str, at: int, policy: str = "orders", **values: Any) -> EvaluationChange:
    given = {
        "period": "orders/scheduled__2026-03-02",
        "due_us": T0,
        "breached_us": T0 if state != "ok" else None,
        "detected_us": T0 + at if state == "breached" else T0,
        "target": "task:orders.load",
        "severity": "page",
        "owner": "data",
        "cause": CAUSE,
        "observed": (T0 + at) / 1e6,
        "threshold": T0 / 1e6,
        "unit": "time",
        **values,
    }
    return EvaluationChange(policy_id=policy, revision="r", state=state, **given)


def promise(store: Store, *policies: str, hold: str = "0s") -> None:
    body = {
        "target": {"dag": "orders", "task": "load"},
        "objective": {"kind": "duration", "at_most": "1h"},
        "for": hold,
    }
    rows = [
        PolicyRow(
            policy_id=one,
            revision="r",
            source="file",
            place="p.yaml:1",
            body=json.dumps({"id": one, **body}),
        )
        for one in policies or ["orders"]
    ]
    store.put_policies(rows, T0)


class Desk:
    """A deliverer with a clock of its own."""

    def __init__(self, store: Store, channels: dict[str, Any], *routes: dict[str, Any]) -> None:
        self.store, self.channels = store, channels
        self.routes = parse_routes(json.dumps(routes or [route(*channels)]), list(channels))
        self.clock = FixedClock(T0 - 3600 * S)
        self.restart()
        self.one.run_once()

    def restart(self) -> None:
        redactor = Redactor()
        self.one = Deliverer(
            self.store,
            self.channels,
            self.routes,
            Told(Cleaner(redactor.message, redactor.name), "https://airflow.example.com"),
            self.clock,
            nothing_upstream,
            random.Random(1),
        )

    def at(self, at: int, *changes: EvaluationChange, patience_s: float = 60.0) -> Any:
        self.clock.us = T0 + at
        if changes:
            self.store.add_changes(changes, {}, T0 + at)
        return self.one.run_once(patience_s=patience_s)


def route(*channels: str, **members: Any) -> dict[str, Any]:
    return {
        "name": "all",
        "channels": [*channels],
        "group_wait": "0s",
        "group_interval": "0s",
        **members,
    }


def opened(**channels: Any) -> dict[str, Any]:
    configs = parse_channels(json.dumps(channels))
    return {one.name: open_channel(one, "flights", Redactor().message) for one in configs}


class Failing(MemoryChannel):
    """A channel that fails as it is told to."""

    error: Exception | None = None

    def send(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        super().send(message)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


# ---- Once, in order, again after a failure ------------------------------------------------------


def test_a_breach_is_sent_once_also_after_a_restart_of_everything(store: Store) -> None:
    promise(store)
    channel = MemoryChannel()
    desk = Desk(store, {"log": channel})
    desk.at(1 * S, change("breached", 1 * S))
    for second in range(2, 30):
        desk.restart()
        desk.at(second * S)
    assert [one.kind for one in channel.sent] == ["firing"]

    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))
    desk.restart()
    desk.at(61 * S)
    assert [one.kind for one in channel.sent] == ["firing", "resolved"]
    assert len({one.incident for one in channel.sent}) == 1


def test_a_pause_is_told_once_in_words_and_so_is_its_end(store: Store) -> None:
    channel = MemoryChannel()
    desk = Desk(store, {"log": channel})
    promise(store)
    paused = ConditionRow(dag_id="orders", kind="paused", from_us=T0 - 60 * S)
    store.put_conditions([paused])
    values = {"breached_us": None, "detected_us": None, "observed": None, "threshold": None}
    values["cause"] = "paused"
    desk.at(0, change("suspended", 0, **values))
    desk.restart()
    desk.at(8 * 3600 * S)
    assert [one.text for one in channel.sent] == [
        """[ticket] orders is suspended

what: orders, promised of task:orders.load
period: orders/scheduled__2026-03-02
expected: by 2026-03-02 09:00:00 UTC
cause: the DAG is paused since 2026-03-02 08:59:00 UTC
owner: data
next: airflow dags unpause orders
Airflow: https://airflow.example.com/dags/orders/runs/scheduled__2026-03-02/tasks/load"""
    ]
    store.put_conditions([msgspec.structs.replace(paused, until_us=T0 + 9 * 3600 * S)])
    desk.at(9 * 3600 * S + S)
    assert [one.title for one in channel.sent[1:]] == ["[ticket] orders counts again"]


def test_two_deliverers_at_once_send_one_notice(store: Store) -> None:
    promise(store)
    channel = MemoryChannel()
    one, other = Desk(store, {"log": channel}), Desk(store, {"log": channel})
    store.add_changes([change("breached", S)], {}, T0 + S)
    for second in range(1, 5):
        one.at(second * S)
        other.at(second * S)
    assert [each.kind for each in channel.sent] == ["firing"]


def test_a_kill_between_sending_and_noting_it_sends_again_and_loses_nothing(store: Store) -> None:
    promise(store)
    channel = MemoryChannel()
    desk = Desk(store, {"log": channel})
    desk.channels["log"] = killed = Failing()
    killed.error = KeyboardInterrupt()  # type: ignore[assignment]
    desk.restart()
    with pytest.raises(KeyboardInterrupt):
        desk.at(S, change("breached", S))
    desk.channels["log"] = channel
    desk.restart()
    desk.at(2 * S)
    assert channel.sent == []  # another sender might still be at it
    desk.at(130 * S)
    assert [one.kind for one in channel.sent] == ["firing"]


def test_a_channel_that_is_away_gets_all_in_order_later_and_holds_no_other_up(
    store: Store,
) -> None:
    promise(store)
    down, up = Failing(), MemoryChannel()
    down.error = ChannelUnavailableError("refused")
    desk = Desk(store, {"down": down, "up": up})
    done = desk.at(S, change("breached", S))
    assert done.errors == {"down": "refused"}
    assert len(up.sent) == 1
    desk.at(S + 100_000, change("ok", 2 * S, due_us=T0))
    assert [one.kind for one in up.sent] == ["firing", "resolved"]
    waiting = [(one.notice.kind, one.attempts) for one in store.waiting_notices()]
    assert waiting == [("firing", 1), ("resolved", 0)]  # which waits behind the first

    down.error = None
    assert desk.at(5 * S).errors == {}
    assert [one.kind for one in down.sent] == ["firing", "resolved"]
    state = store.channel_states()[0]
    assert (state.name, state.waiting, state.delivered) == ("down", 0, 2)


def test_a_channel_that_keeps_failing_is_told_by_the_others_and_so_is_its_recovery(
    store: Store,
) -> None:
    promise(store)
    down, up = Failing(), MemoryChannel()
    down.error = ChannelUnavailableError("https://hooks.example.com answered 500")
    desk = Desk(store, {"down": down, "up": up}, route("down"))
    for second in range(1, 60):
        desk.at(second * S, *([change("breached", S)] if second == 1 else []))
    (notice,) = up.sent
    assert notice.title == f"[page] {CHANNEL_POLICY}down is broken"
    assert ("cause", "https://hooks.example.com answered 500") in notice.facts

    down.error = None
    for second in range(60, 400):
        desk.at(second * S)
    assert [one.kind for one in down.sent] == ["firing"]
    assert [one.kind for one in up.sent] == ["firing", "resolved"]


def test_a_channel_that_hangs_holds_no_other_up_and_is_told_by_the_others(store: Store) -> None:
    promise(store)
    answers = threading.Event()

    class Hanging(MemoryChannel):
        def send(self, message: Message) -> None:
            assert answers.wait(60)
            super().send(message)

    hanging, up = Hanging(), MemoryChannel()
    desk = Desk(store, {"hanging": hanging, "up": up})
    try:
        desk.at(S, change("breached", S), patience_s=0.5)
        assert [one.kind for one in up.sent] == ["firing"]
        desk.at(2 * S, change("recovered", 2 * S, recovered_us=T0 + 2 * S), patience_s=0.5)
        assert [one.kind for one in up.sent] == ["firing", "resolved"]
        assert hanging.sent == []
        desk.at(400 * S, patience_s=0.5)
        assert up.sent[-1].title == f"[page] {CHANNEL_POLICY}hanging is broken"
        assert ("cause", "it hangs: no attempt has ended") in up.sent[-1].facts
    finally:
        answers.set()
    desk.at(401 * S)
    desk.at(402 * S)
    assert [one.kind for one in hanging.sent] == ["firing", "resolved"]


def test_a_refused_notice_is_given_up_and_does_not_stop_the_next(store: Store) -> None:
    promise(store)
    channel = Failing()
    channel.error = NoticeRefusedError("answered 400")
    desk = Desk(store, {"log": channel})
    assert desk.at(S, change("breached", S)).given_up == 1
    channel.error = None
    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))
    assert [one.kind for one in channel.sent] == ["resolved"]
    assert store.channel_states()[0].dead == 1


def test_a_promise_holds_before_it_is_told_and_one_withdrawn_is_told_no_more(
    store: Store,
) -> None:
    promise(store, hold="10m")
    channel = MemoryChannel()
    desk = Desk(store, {"log": channel})
    desk.at(S, change("breached", S))
    assert channel.sent == []
    desk.at(601 * S)
    assert [one.kind for one in channel.sent] == ["firing"]
    promise(store, "another")
    desk.restart()
    desk.at(700 * S)
    assert channel.sent[-1].data["resolved"][0]["outcome"] == "no longer promised"


# ---- Each kind of channel -----------------------------------------------------------------------

CHANNELS = {
    "slack": {"type": "slack", "url": f"URL/{SECRET_PATH}"},
    "pagerduty": {"type": "pagerduty", "routing_key": KEY, "url": "URL/v2/enqueue"},
    "alertmanager": {"type": "alertmanager", "url": "URL"},
    "webhook": {"type": "webhook", "url": "URL/hook", "headers": {"Authorization": f"B {KEY}"}},
}
_TEXT, _TIME = {"type": "string", "minLength": 1}, {"type": "string", "format": "date-time"}
# As their public documentation has them.
SCHEMAS: dict[str, dict[str, Any]] = {
    "webhook": {
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            **dict.fromkeys(("id", "source", "type", "subject"), _TEXT),
            "specversion": {"const": "1.0"},
            "datacontenttype": {"const": "application/json"},
            "time": _TIME,
        },
        # Names of attributes: lower-case letters and digits.
        "propertyNames": {"pattern": "^[a-z0-9]+$"},
    },
    "alertmanager": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["labels"],
            "additionalProperties": False,
            "properties": {
                "labels": {"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
                "annotations": {"type": "object", "additionalProperties": _TEXT},
                "startsAt": _TIME,
                "endsAt": _TIME,
                "generatorURL": {"type": "string", "format": "uri"},
            },
        },
    },
    "pagerduty": {
        "type": "object",
        "required": ["routing_key", "event_action", "dedup_key"],
        "properties": {
            "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
            "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
            "dedup_key": {"type": "string", "maxLength": 255},
            "payload": {
                "type": "object",
                "required": ["summary", "source", "severity"],
                "properties": {
                    "summary": {"type": "string", "maxLength": 1024},
                    "source": _TEXT,
                    "severity": {"enum": ["critical", "error", "warning", "info"]},
                    "timestamp": _TIME,
                },
            },
        },
        "if": {"properties": {"event_action": {"const": "trigger"}}},
        "then": {"required": ["payload"]},
    },
    "slack": {
        "type": "object",
        "required": ["text", "blocks"],
        "properties": {
            "text": _TEXT,
            "blocks": {
                "type": "array",
                "maxItems": 50,
                "items": {"properties": {"type": {"enum": ["header", "section", "context"]}}},
            },
        },
    },
}


def at_receiver(name: str, receiver: Receiver) -> dict[str, Any]:
    return json.loads(json.dumps({name: CHANNELS[name]}).replace("URL", receiver.url))


@pytest.mark.parametrize("name", CHANNELS)
def test_trigger_acknowledge_and_resolve_reach_a_receiver_after_a_500(
    name: str, receiver: Receiver
) -> None:
    store = MemoryStore()
    promise(store)
    answers = [Answer(500, f"key {KEY} {SECRET_PATH}".encode())]
    receiver.answer = lambda _: answers.pop() if answers else Answer(202)
    desk = Desk(store, opened(**at_receiver(name, receiver)))

    error = desk.at(S, change("breached", S)).errors[name]
    assert error.startswith(f"{receiver.url} answered 500: ")
    assert KEY not in error or name in ("slack", "alertmanager")
    assert "s3cr3tOfSlack" not in error or name != "slack"
    desk.at(3 * S)
    ack = {
        "matchers": ('policy="orders"',),
        "author": "ann",
        "reason": "on it",
        "at_us": T0 + 4 * S,
    }
    store.add_action(Action(kind="ack", **ack))
    desk.at(5 * S)
    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))

    assert len(receiver.received) == 3
    assert len(receiver.requests) == 4
    for body in receiver.received:
        Draft7Validator(SCHEMAS[name], format_checker=Draft7Validator.FORMAT_CHECKER).validate(body)
        text = json.dumps(body)
        assert TOKEN not in text
        assert "Schmidt" not in text
        assert (KEY in text) == (name == "pagerduty")
        assert "s3cr3t" not in text
    assert {ids_in(name, one) for one in receiver.received} == {
        next(iter(store.alert_state().incidents.values())).id
    }
    desk.one.close()


def ids_in(name: str, body: Any) -> str:
    if name == "pagerduty":
        return body["dedup_key"]
    if name == "webhook":
        assert body["data"]["incident"] == body["subject"]
        return body["subject"]
    if name == "alertmanager":
        return body[0]["annotations"]["incident"]
    return body["blocks"][-1]["elements"][0]["text"].rpartition(" · ")[2]


def test_pagerduty_is_told_to_trigger_acknowledge_and_resolve_by_one_key(
    receiver: Receiver,
) -> None:
    store = MemoryStore()
    promise(store)
    desk = Desk(store, opened(**at_receiver("pagerduty", receiver)))
    desk.at(S, change("breached", S))
    store.add_action(
        Action(kind="ack", matchers=('dag="orders"',), author="a", reason="b", at_us=T0 + 2 * S)
    )
    desk.at(3 * S)
    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))
    events = receiver.received
    assert [one["event_action"] for one in events] == ["trigger", "acknowledge", "resolve"]
    assert len({one["dedup_key"] for one in events}) == 1
    payload = events[0]["payload"]
    assert payload["severity"] == "critical"
    assert payload["component"] == "task:orders.load"
    details = payload["custom_details"]
    assert details["since"] == "2026-03-02 09:00:00 UTC"
    assert details["expected"] == "2026-03-02 09:00:00 UTC"
    assert details["observed"] == "2026-03-02 09:00:01 UTC"
    assert details["next"] == "airflow-provenance sla status --policy orders"
    assert events[0]["links"] == [
        {
            "href": "https://airflow.example.com/dags/orders/runs/scheduled__2026-03-02/tasks/load",
            "text": "Airflow",
        }
    ]


def test_alertmanager_knows_the_alert_that_ends_by_the_labels_of_the_one_that_fired(
    receiver: Receiver,
) -> None:
    store = MemoryStore()
    promise(store)
    desk = Desk(store, opened(**at_receiver("alertmanager", receiver)))
    desk.at(S, change("breached", S))
    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))
    (fired,), (ended,) = receiver.received
    assert [path for path, _ in receiver.requests] == ["/api/v2/alerts"] * 2
    assert fired["labels"] == ended["labels"]
    assert fired["labels"]["alertname"] == "orders"
    assert fired["startsAt"] == ended["startsAt"] == "2026-03-02T09:00:00.000000Z"
    assert ended["endsAt"] == "2026-03-02T09:01:00.000000Z"
    assert fired["endsAt"] > "2026-03-31"


def test_a_webhook_gets_cloudevents_in_structured_mode(receiver: Receiver) -> None:
    store = MemoryStore()
    promise(store)
    desk = Desk(store, opened(**at_receiver("webhook", receiver)))
    desk.at(S, change("breached", S))
    path, headers = receiver.requests[0]
    assert path == "/hook"
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["Authorization"] == f"B {KEY}"
    (event,) = receiver.received
    assert event["type"] == "airflow_provenance.alert.firing"
    assert event["source"] == "flights"
    assert event["data"]["firing"][0]["target"] == "task:orders.load"


def test_a_mail_is_sent_again_after_a_server_said_to_wait() -> None:
    store = MemoryStore()
    promise(store)
    with mailing() as box:
        mail = {"type": "smtp", "host": "127.0.0.1", "port": box.port, "from": "af@example.com"}
        channels = opened(
            mail={**mail, "to": ["oncall@example.com"], "user": "af", "password": PASSWORD}
        )
        desk = Desk(store, channels)
        box.answers["DATA"] = f"451 later {PASSWORD}"
        error = desk.at(S, change("breached", S)).errors["mail"]
        assert error == f"127.0.0.1:{box.port} answered 451"
        desk.at(3 * S)
        box.answers["AUTH"] = "535 no"
        error = desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S)).errors
        assert error["mail"].endswith("does not let us in (535): check user and password")
        desk.at(90 * S)
        first, second = box.mails
    assert box.logins[0] == b"\0af\0" + PASSWORD.encode()
    assert first["Subject"] == "[page] orders is broken"
    assert first["To"] == "oncall@example.com"
    assert second["Subject"] == "[page] orders was made good"
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]
    for one in (first, second):
        text = one.as_string()
        assert TOKEN not in text
        assert "Schmidt" not in text
        assert PASSWORD not in text
    assert "late by 1m" in second.get_content()


def test_airflows_own_notifier_sends_it_outside_of_a_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = MemoryStore()
    promise(store)
    with mailing() as box:
        extra = json.dumps({"disable_ssl": True, "disable_tls": True})
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": box.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        arguments = {
            "from_email": "af@example.com",
            "to": "{{ sla.firing[0].owner }}@example.com",
            "subject": "{{ sla.title }} {{ dag_run.dag_id }} {{ dag_run.run_id }}",
            "html_content": "<pre>{{ message }}</pre>",
        }
        path = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
        desk = Desk(store, opened(mail={"type": "notifier", "path": path, "arguments": arguments}))
        assert desk.at(S, change("breached", S)).errors == {}
        (mail,) = box.mails
    assert mail["Subject"] == "[page] orders is broken orders scheduled__2026-03-02"
    assert mail["To"] == "data@example.com"
    assert TOKEN not in mail.as_string()


def test_a_notifier_that_is_not_there_is_told_in_one_line() -> None:
    store = MemoryStore()
    promise(store)
    desk = Desk(store, opened(x={"type": "notifier", "path": "no.such.Notifier"}))
    error = desk.at(S, change("breached", S)).errors["x"]
    assert error == (
        "there is no notifier no.such.Notifier: check its path, and install its provider"
    )


def test_a_file_gets_a_line_for_each_notice(tmp_path: Path) -> None:
    store = MemoryStore()
    promise(store)
    path = tmp_path / "new" / "notices.jsonl"
    desk = Desk(store, opened(log={"type": "file", "path": str(path)}))
    desk.at(S, change("breached", S))
    path.write_bytes(path.read_bytes() + b'{"torn')
    desk.at(60 * S, change("recovered", 60 * S, recovered_us=T0 + 60 * S))
    lines = path.read_text().splitlines()
    assert [json.loads(lines[n])["status"] for n in (0, 2)] == ["firing", "resolved"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in path.read_text()


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ('{"a"', "channels is no JSON"),
        ("[]", "give a JSON object"),
        ({"a b": {}}, "its name must be letters"),
        ({"a": {"type": "sms"}}, "its type must be one of file, webhook"),
        ({"a": {"type": "slack"}}, "channel 'a': url is missing"),
        ({"a": {"type": "slack", "url": KEY}}, "url must be a URL of http or https"),
        ({"a": {"type": "webhook", "url": f"https://u:{KEY}@h"}}, "without a password"),
        ({"a": {"type": "pagerduty", "routing_key": 3}}, "routing_key must be a text"),
        ({"a": {"type": "file", "path": "x", "key": KEY}}, "'key' is not known for type file"),
        ({"a": {"type": "smtp", "host": "h", "from": "f", "to": []}}, "to must be a list of texts"),
        ({"a": {"type": "slack", "url": "http://h", "headers": {"a": 1}}}, "headers must be"),
    ],
)
def test_what_is_wrong_with_channels_is_told_in_one_line_without_a_value(
    channels: Any, said: str
) -> None:
    text = channels if isinstance(channels, str) else json.dumps(channels)
    with pytest.raises(SettingsError) as caught:
        parse_channels(text)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
