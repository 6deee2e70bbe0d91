"""A real scheduler: what is late, fails, is paused, cannot be imported, or never comes (A3, A4).

People are told of each once, in words; restarted as a whole nothing is told again, and when a run
comes at last that is told, too.
"""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provenance.domain.clock import format_time, parse_time, to_us
from airflow_provenance.store.sql.store import SqlStore
from tests.support import postgres
from tests.support.airflow_standalone import Airflow
from tests.support.receiver import Answer, receiving
from tests.support.service_host import Host, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from tests.support.receiver import Receiver

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 150
ROLES = "drain,reconcile,evaluate,deliver"
DAG = """
import time
from datetime import datetime, timedelta, UTC
from pathlib import Path
from airflow.sdk import DAG, task
from airflow_provenance.sla.declare import promise
from airflow_provenance.sla.objectives import Deadline, MissingRun

with DAG("{name}", schedule="{cron}", start_date=datetime({start}, tzinfo=UTC),
         catchup=False) as dag:
    @task
    def work():
        {work}
    work()
promise(dag, {promise}, severity="page", owner="data")
"""
MISSING = "MissingRun(grace=timedelta(seconds=15))"
FAILS = 'if not Path("{0}/mended").exists(): raise ValueError("no orders today")'
BROKEN = "import nowhere\nfrom airflow.sdk import DAG\n"  # without these words: no DAG file
TROUBLES = ("late.deadline", "fails.deadline", "halted.missing_run", "broken.missing_run",
            "never.missing_run")  # fmt: skip


class Notices:
    """What a real receiver was sent, and when."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.at_us: dict[str, int] = {}
        receiver.answer = self._answer

    def _answer(self, event: dict[str, Any]) -> Answer:
        self.at_us.setdefault(event["id"], time.time_ns() // 1000)
        return Answer()

    def all(self) -> list[dict[str, Any]]:
        return [event["data"] for event in list(self._receiver.received)]

    def of(self, policy: str) -> list[tuple[str, str]]:
        """Return the kinds of the notices about a promise, with the states that they tell."""
        return [
            (one["kind"], item["state"])
            for one in self.all()
            for item in one["firing"] or one["resolved"]
            if item["policy"] == policy
        ]

    def first(self, policy: str) -> dict[str, Any]:
        """Return the first notice about a promise."""
        return next(one for one in self.all() if one["firing"] and _first(one)["policy"] == policy)

    def last(self, policy: str) -> dict[str, Any]:
        """Return the last notice about a promise."""
        return [one for one in self.all() if _first(one)["policy"] == policy][-1]


def _first(notice: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (notice["firing"] or notice["resolved"])[0]
    return found


class Happened(NamedTuple):
    """What the store and the receiver have at the end."""

    due: datetime
    due_of_never: datetime
    changes: list[EvaluationChange]  # before the restart
    told: list[dict[str, Any]]
    notices: Notices
    log: str

    def of(self, policy: str) -> list[EvaluationChange]:
        return [one for one in self.changes if one.policy_id == policy]


def write_dags(folder: Path, due: datetime, due_of_never: datetime) -> None:
    start = f"{due - timedelta(minutes=30):%Y, %-m, %-d, %-H, %-M}"
    soon = f'Deadline(at="{due + timedelta(seconds=12):%H:%M:%S}")'
    later = f'Deadline(at="{due + timedelta(minutes=20):%H:%M:%S}")'
    dags = {
        "late": (due, "time.sleep(16)", soon),
        "fails": (due, FAILS.format(folder), f'{later}, on_failure="breach_now"'),
        "halted": (due, "pass", MISSING),
        "broken": (due, "pass", MISSING),
        "works": (due, "pass", MISSING),
        "never": (due_of_never, "pass", MISSING),
    }
    for name, (at, work, promised) in dags.items():
        cron = f"{at.minute} {at.hour} * * * {at.second}"
        text = DAG.format(name=name, cron=cron, start=start, work=work, promise=promised)
        (folder / f"{name}.py").write_text(text)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a real scheduler goes by the real time


def told_of(store: SqlStore) -> list[EvaluationChange]:
    """Return what was told; before Airflow is asked nobody knows what is expected."""
    return [one for one in store.evaluation_changes() if one.state != "no_data"]


def end(service: subprocess.Popen[str], store: SqlStore) -> None:
    """Kill a service, but not between sending and noting it: then it sends the same id again."""
    wait_until(lambda: not any(one.waiting for one in store.channel_states()), "all is sent")
    service.kill()
    service.wait()


def host_of(airflow: Airflow, folder: Path, receiver: Receiver) -> Host:
    """Return where the service runs, as that Airflow's."""
    host = Host(
        folder / "host",
        channels={"desk": {"type": "webhook", "url": receiver.url}},
        routes=[{"name": "all", "channels": ["desk"], "group_wait": "0s", "group_interval": "0s"}],
        lease_seconds="3",
    )
    ours = {key: text for key, text in host.environment.items() if "__PROVENANCE__" in key}
    spool = {"AIRFLOW__PROVENANCE__SPOOL_DIR": str(airflow.home / "spool")}
    host.environment = {**airflow.environment, **ours, **spool}
    return host


@pytest.fixture(scope="module")
def happened(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Happened]:
    folder = tmp_path_factory.mktemp("expected")
    (folder / "airflow").mkdir()
    environment = {
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
    }
    begun = time.monotonic()
    with (
        receiving() as receiver,
        postgres.new_database(postgres_server) as metadata,
        Airflow.start(
            *(folder / "airflow", metadata),
            dags=[],
            components=("scheduler", "api-server", "dag-processor"),
            environment=environment,
        ) as airflow,
    ):
        host = host_of(airflow, folder, receiver)
        store = SqlStore(host.url)
        try:
            yield happen(airflow, host, store, Notices(receiver), time.monotonic() - begun)
        finally:
            host.close()
            store.close()


def happen(
    airflow: Airflow, host: Host, store: SqlStore, notices: Notices, pace: float
) -> Happened:
    """Let everything happen; `pace` is how long this machine took to start Airflow."""
    dags = airflow.home / "dags"
    service = host.start(roles=ROLES)
    due = (now() + timedelta(seconds=max(25, 1.4 * pace))).replace(microsecond=0)
    due_of_never = due + timedelta(seconds=round(max(28, 0.8 * pace)))
    write_dags(dags, due, due_of_never)
    wait_until(lambda: len(store.policies()) == 6, "all are in force", SECONDS)
    airflow.patch("/api/v2/dags/halted", {"is_paused": True})
    whole = (dags / "broken.py").read_text()
    (dags / "broken.py").write_text(BROKEN)
    assert now() < due - timedelta(seconds=5), "this machine is too slow"

    early = [one for one in TROUBLES if one != "never.missing_run"]
    wait_until(lambda: all(notices.of(one) for one in early), "all are told", SECONDS)
    wait_until(lambda: len(notices.of("late.deadline")) == 2, "the late one ended", SECONDS)
    airflow.kill("scheduler")
    assert now() < due_of_never, "this machine is too slow"
    wait_until(lambda: notices.of("never.missing_run"), "the last is told", SECONDS)
    changes, told = told_of(store), notices.all()

    # Everything is restarted, and mended.
    end(service, store)
    service = host.start(roles=ROLES)
    airflow.run("scheduler")
    (dags / "broken.py").write_text(whole)
    (dags / "mended").touch()
    airflow.patch("/api/v2/dags/halted", {"is_paused": False})
    runs = airflow.get("/api/v2/dags/fails/dagRuns")["dag_runs"]
    airflow.clear("fails", runs[0]["dag_run_id"], ["work"])
    wait_until(lambda: all(len(notices.of(one)) >= 2 for one in TROUBLES), "all is well", SECONDS)
    end(service, store)
    host.start(roles=ROLES)
    wait_until(lambda: host.log().count("leads now") == 3, "it works again", SECONDS)
    time.sleep(3)
    (airflow.home / "notices.json").write_text(json.dumps(notices.all(), indent=1))
    return Happened(due, due_of_never, changes, told, notices, host.logs())


def test_each_trouble_is_one_notice_and_its_end_is_another(happened: Happened) -> None:
    notices = happened.notices
    # Cleared, it is open again; whether it was seen running or only done is a matter of moments.
    assert notices.of("fails.deadline")[-1] in (("resolved", "ok"), ("resolved", "pending"))
    assert {one: notices.of(one) for one in TROUBLES} == {
        "late.deadline": [("firing", "breached"), ("resolved", "recovered")],
        "fails.deadline": [("firing", "breached"), notices.of("fails.deadline")[-1]],
        "halted.missing_run": [("firing", "suspended"), ("resolved", "suspended")],
        "broken.missing_run": [("firing", "breached"), ("resolved", "recovered")],
        "never.missing_run": [("firing", "breached"), ("resolved", "recovered")],
    }
    assert len(notices.all()) == 10  # and nothing of what works
    assert len({one["id"] for one in notices.all()}) == 10


@pytest.mark.parametrize(
    ("policy", "title", "cause", "words", "next_step"),
    [
        ("late.deadline", "[page] {} is broken", "still_running",
         "late.work (still runs, for|waited .+ for a slot)", "sla why"),
        ("fails.deadline", "[page] {} is broken", "failed", "no orders today", "state FAIL"),
        ("halted.missing_run", "[ticket] {} is suspended", "paused", "the DAG is paused since",
         "airflow dags unpause halted"),
        ("broken.missing_run", "[page] {} is broken", "import_error",
         "the DAG's file broken[.]py cannot be imported since",
         "airflow dags list-import-errors"),
        ("never.missing_run", "[page] {} is broken", "scheduler_down",
         "Airflow's scheduler is down since",
         "airflow jobs check"),
    ],
)  # fmt: skip
def test_a_notice_says_why_in_words_and_what_to_do(
    happened: Happened, policy: str, title: str, cause: str, words: str, next_step: str
) -> None:
    notice = happened.notices.first(policy)
    (item,) = notice["firing"]
    assert notice["title"] == title.format(policy)
    assert item["cause"] == cause
    assert re.search(words, item["explanation"])
    assert next_step in notice["next_step"]


@pytest.mark.parametrize("policy", TROUBLES)
def test_a_run_that_comes_at_last_ends_the_alert_and_says_how_late_it_was(
    happened: Happened, policy: str
) -> None:
    first, last = happened.notices.first(policy), happened.notices.last(policy)
    assert last["incident"] == first["incident"]
    (item,) = last["resolved"]
    assert item["fingerprint"] == first["firing"][0]["fingerprint"]
    if policy in ("late.deadline", "broken.missing_run", "never.missing_run"):
        late_us = (parse_time(item["ended_at"]) - parse_time(item["breached_at"])) / 1e6
        assert 0 < late_us < 300
        assert item["late_by"]


def test_what_broke_has_the_moment_at_which_it_did(happened: Happened) -> None:
    for policy, due, seconds in (
        ("late.deadline", happened.due, 12),
        ("broken.missing_run", happened.due, 15),
        ("never.missing_run", happened.due_of_never, 15),
    ):
        (item,) = happened.notices.first(policy)["firing"]
        at_us = to_us(due) + seconds * 1_000_000
        assert item["breached_at"] == format_time(at_us)
        assert at_us < parse_time(item["detected_at"])


def test_a_run_that_came_is_well_and_a_pause_breaks_nothing(happened: Happened) -> None:
    assert [one.state for one in happened.of("works.missing_run")] == ["ok"]
    (halted,) = happened.of("halted.missing_run")
    assert (halted.state, halted.cause, halted.breached_us) == ("suspended", "paused", None)


def test_a_failure_is_told_within_seconds(happened: Happened) -> None:
    notice = happened.notices.first("fails.deadline")
    at_us = happened.notices.at_us[notice["id"]]
    seconds = (at_us - parse_time(notice["firing"][0]["breached_at"])) / 1e6
    sys.stderr.write(f"told {seconds:.1f} s after it failed\n")
    assert seconds < 15
