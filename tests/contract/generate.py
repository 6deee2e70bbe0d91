"""Small random stories: sets of events and notes that collide in interesting ways.

A story has few namespaces, DAGs, tasks, datasets, partitions and content ids, and all of it happens
within a minute, mostly on whole seconds: so runs overlap, times tie and names meet. Everything in
it is valid. The events have the shape of the official provider's (2.20.3) as recorded, with most of
what no rule reads left out. One seed gives one story.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    import random

Json = dict[str, Any]
LogEntry = tuple[Literal["E", "N"], bytes]

_PRODUCER = "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
_FACET_SPEC = "https://openlineage.io/spec/facets/"
_EPOCH = datetime(2026, 1, 5, 6, tzinfo=UTC)
_ZONES = (0, 0, 0, 120, -330, 345)

_FOREIGN_PRODUCERS = {
    "spark": "https://github.com/OpenLineage/OpenLineage/tree/1.38.0/integration/spark",
    "dbt": "https://github.com/OpenLineage/OpenLineage/tree/1.38.0/integration/dbt",
    "flink": "https://github.com/OpenLineage/OpenLineage/tree/1.38.0/integration/flink",
}
_STATES = (
    "RUNNING",
    "COMPLETE",
    "FAIL",
    "ABORT",
    "SKIPPED",
    "UP_FOR_RETRY",
    "UPSTREAM_FAILED",
    "REMOVED",
)
_DATASETS = (
    ("file", "/data/in.csv"),  # nobody writes it
    ("postgres://db:5432", "shop.public.orders"),
    ("postgres://db:5432", "shop.public.totals"),
    ("s3://lake", "totals/été 100%'s"),
)
_PARTITIONS = ("2026-01-04", "2026-01-05")
_CONTENT_IDS = ("v1", "v2", "v3")
# What may be installed. The third has the text, and so the hash, of the second.
_INSTALLED = (
    ["attrs==25.3.0", "pyyaml==6.0.2"],
    ["attrs==25.3.0", "pyyaml==6.0.3", "sqlglot==27.0.0"],
    ["attrs==25.3.0\npyyaml==6.0.3", "sqlglot==27.0.0"],
    ["été==1"],
    [],
)
_LIFECYCLE = ("OVERWRITE", "CREATE", "TRUNCATE", "ALTER", "DROP", "RENAME")


class Task(NamedTuple):
    """A task of a DAG; `upstream` lists tasks before it, so that no DAG has a cycle."""

    task_id: str
    upstream: tuple[str, ...] = ()
    members: int = 0
    reads: int | None = None
    writes: int | None = None


# "a" and "a.b" have tasks whose job name is the same: "a.b.c".
_DAGS: dict[str, tuple[Task, ...]] = {
    "etl": (
        Task("extract", (), reads=0, writes=1),
        Task("clean", ("extract",), members=3, reads=1, writes=2),
        Task("load", ("clean",), reads=2, writes=3),
        Task("check", ("extract", "load"), reads=3),
    ),
    "report": (
        Task("totals", (), reads=2, writes=3),
        Task("mail", ("totals",), reads=3),
    ),
    "a": (Task("b.c", (), reads=1, writes=2),),
    "a.b": (Task("c", (), reads=2, writes=1),),
}


def story(rng: random.Random, size: int) -> list[LogEntry]:
    """Return `size` events and notes, in an order in which they might well arrive."""
    teller = _Teller(rng)
    while len(teller.entries) < size:
        teller.tell_something()
    return teller.entries[:size]


@dataclass(frozen=True)
class _Try:
    """One try of a task instance."""

    namespace: str
    dag_id: str
    run_id: str
    task: Task
    map_index: int
    try_number: int

    @property
    def job_name(self) -> str:
        return f"{self.dag_id}.{self.task.task_id}"


class _Teller:
    """Writes the entries of one story."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.entries: list[LogEntry] = []
        # The official runId does not hash run_id: two DAG runs can share it, and their tasks too.
        self.run_ids_clash = rng.random() < 0.35
        self.dag_ids = rng.sample(sorted(_DAGS), k=rng.randint(1, 3))
        self.run_ids = ["scheduled__1", "manual__2"][: rng.choice((1, 2, 2))]
        if rng.random() < 0.3:
            # A run_id that reads like a runId: kinds of key must be kept apart, not only texts.
            self.run_ids.append(self._dag_run_uuid("air", self.dag_ids[0], "scheduled__1"))
        self.namespaces = ("air",) if rng.random() < 0.8 else ("air", "air2")
        self.longest = rng.choice((3, 10, 20))
        # How often a dataset has a partition, and a content id.
        self.partitioned = rng.choice((0.1, 0.35, 0.8))
        self.pinned = rng.choice((0.1, 0.35, 0.7))
        self.tries_told: list[_Try] = []

    def tell_something(self) -> None:
        tales = {
            self.task: 10,
            self.mapped_group: 4,
            self.dag_run: 2,
            self.child_run: 2,
            self.foreign_run: 2,
            self.lone_note: 2,
            self.keyless_event: 2,
            self.clashing_run_id: 1,
            self.misnamed_job: 1,
            self.job_event: 1,
            self.dataset_event: 1,
            self.repetition: 1,
        }
        self.rng.choices(list(tales), weights=list(tales.values()))[0]()

    # ---- Chance and time ------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def second(self) -> int:
        return self.rng.randint(0, 50)

    def time(self, second: float) -> str:
        """Return a time as one of the producers writes it: any offset, any number of digits."""
        digits = ""
        if self.chance(0.2):
            # The 7th to 9th digits are cut off: these may tie with the whole second.
            digits = self.rng.choice((".000000", ".0000004", ".000000999", ".5", ".000001", ".123"))
        offset = self.rng.choice(_ZONES)
        moment = (_EPOCH + timedelta(seconds=second)).astimezone(
            timezone(timedelta(minutes=offset))
        )
        text = moment.strftime("%Y-%m-%dT%H:%M:%S") + digits
        if offset == 0 and self.chance(0.7):
            return text + "Z"
        sign = "-" if offset < 0 else "+"
        return f"{text}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"

    # ---- Entries --------------------------------------------------------------------------------

    def add(self, kind: Literal["E", "N"], body: Json) -> None:
        # Some producers escape what is not ASCII, some do not.
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=self.chance(0.5))
        self.entries.append((kind, text.encode()))

    def run_event(
        self,
        event_type: str,
        second: float,
        job: tuple[str, str],
        run_uuid: str,
        facets: Json,
        producer: str = _PRODUCER,
        inputs: list[Json] | None = None,
        outputs: list[Json] | None = None,
    ) -> None:
        if self.chance(0.1):
            facets = {**facets, "somebodyElses": _facet({"dag": [1, None], "key": "x"})}
        if self.chance(0.1):
            facets = {"airflowProvenance_run": None, "parent": None, **facets}
        run: Json = {"runId": run_uuid.upper() if self.chance(0.04) else run_uuid}
        if facets:
            run["facets"] = facets
        elif self.chance(0.5):
            run["facets"] = self.rng.choice(({}, None))
        event: Json = {
            "eventTime": self.time(second),
            "eventType": event_type,
            "job": {"namespace": job[0], "name": job[1], "facets": _job_type("TASK")},
            "run": run,
            "producer": producer,
            "schemaURL": _SPEC + "RunEvent",
        }
        for direction, items in (("inputs", inputs or []), ("outputs", outputs or [])):
            if items or self.chance(0.6):
                event[direction] = items
            elif self.chance(0.2):
                event[direction] = None
        self.add("E", event)

    # ---- Datasets -------------------------------------------------------------------------------

    def datasets(self, usual: int | None, direction: str) -> list[Json]:
        """Return what a task lists in one event: no dataset and partition twice."""
        if usual is not None and self.chance(0.75):
            numbers = [usual] * self.rng.choice((1, 1, 1, 2))
        else:
            numbers = self.rng.choices(range(len(_DATASETS)), k=self.rng.choice((0, 1, 1, 2, 3)))
        found: dict[object, Json] = {}
        for number in numbers:
            partition = self.rng.choice(_PARTITIONS) if self.chance(self.partitioned) else None
            # Only the first dataset has no writer.
            number = number or (self.rng.randint(1, 3) if direction == "outputs" else 0)
            found[number, partition] = self.dataset(number, partition, direction)
        return list(found.values())

    def dataset(self, number: int, partition: str | None, direction: str) -> Json:
        namespace, name = _DATASETS[number]
        facets: Json = {}
        if partition:
            facets["airflowProvenance_partition"] = _facet({"key": partition})
        if self.chance(self.pinned):
            version = _facet({"datasetVersion": self.rng.choice(_CONTENT_IDS)})
            facets["version"] = None if self.chance(0.1) else version
        if self.chance(0.25):
            content = {"verified": self.chance(0.5), "sha256": "00"}
            facets["airflowProvenance_content"] = _facet(content)
        if direction == "outputs" and self.chance(0.5):
            change = _facet({"lifecycleStateChange": self.rng.choice(_LIFECYCLE[: self.width()])})
            facets["lifecycleStateChange"] = change
        if self.chance(0.1):
            facets["schema"] = _facet({"fields": [{"name": "id", "type": "int"}]})
        if self.chance(0.1):
            facets[self.rng.choice(("airflowProvenance_partition", "lifecycleStateChange"))] = None
            if partition:
                facets["airflowProvenance_partition"] = _facet({"key": partition})
        item: Json = {"namespace": namespace, "name": name}
        if facets:
            item["facets"] = facets
        elif self.chance(0.6):
            item["facets"] = self.rng.choice(({}, {}, None))
        return item

    def width(self) -> int:
        """Return how many of the lifecycle changes to choose from: replacing ones more often."""
        return self.rng.choice((1, 3, 6))

    # ---- Task runs ------------------------------------------------------------------------------

    def some_try(self) -> _Try:
        dag_id = self.rng.choice(self.dag_ids)
        task = self.rng.choice(_DAGS[dag_id])
        map_index = self.rng.randrange(task.members) if task.members else -1
        return _Try(
            self.rng.choice(self.namespaces),
            dag_id,
            self.rng.choice(self.run_ids),
            task,
            map_index,
            self.rng.choice((1, 1, 1, 2, 3)),
        )

    def _dag_run_uuid(self, namespace: str, dag_id: str, run_id: str) -> str:
        return _uuid(namespace, dag_id, "" if self.run_ids_clash else run_id)

    def try_uuid(self, one: _Try) -> str:
        run_id = "" if self.run_ids_clash else one.run_id
        return _uuid(one.namespace, one.job_name, run_id, one.map_index, one.try_number)

    def task(self) -> None:
        """One to three tries of a task: a retry after a failure, a clear after a success."""
        one, second = self.some_try(), self.second()
        for try_number in range(one.try_number, one.try_number + self.rng.choice((1, 1, 1, 2, 3))):
            one = _Try(one.namespace, one.dag_id, one.run_id, one.task, one.map_index, try_number)
            second = self.task_try(one, second) + self.rng.randint(0, 4)

    def mapped_group(self) -> None:
        """The mapped instances of one task, side by side; some may fail."""
        one = self.some_try()
        if not one.task.members:
            self.task_try(one, self.second())
            return
        second = self.second()
        # Half the time they write the same dataset and partition, as one group does.
        shared = self.datasets(one.task.writes, "outputs") if self.chance(0.5) else None
        for member in range(one.task.members):
            sibling = _Try(one.namespace, one.dag_id, one.run_id, one.task, member, one.try_number)
            self.task_try(sibling, second + self.rng.randint(0, 2), shared)

    def task_try(self, one: _Try, started: int, outputs: list[Json] | None = None) -> int:
        """Write one try, from START to whatever ends it; return when it ended."""
        ended = started + self.rng.randint(0, self.longest)
        if outputs is None:
            outputs = self.datasets(one.task.writes, "outputs") if self.writes(one) else []
        inputs = self.datasets(one.task.reads, "inputs")
        times = (started, ended)
        if self.chance(0.85):
            is_early = self.chance(0.6)
            self.task_event(one, "START", started, times, inputs, outputs if is_early else [])
        if self.chance(0.15):
            kind = self.rng.choice(("RUNNING", "OTHER", "START"))
            self.task_event(one, kind, self.rng.randint(started, ended), times, inputs, [])
        has_terminal = self.chance(0.85)
        if has_terminal:
            self.task_event(one, self.terminal_type(), ended, times, inputs, outputs)
        if self.chance(0.12):  # a second terminal: a late COMPLETE, or one of equal time
            late = ended + self.rng.choice((0, 0, 1, 5))
            self.task_event(one, self.terminal_type(), late, times, [], outputs)
        if self.chance(0.25):
            self.task_note(one, times)
        if self.chance(0.08 if has_terminal else 0.4):
            self.override(one, ended)
        self.tries_told.append(one)
        return ended

    def writes(self, one: _Try) -> bool:
        return one.task.writes is not None or self.chance(0.1)

    def terminal_type(self) -> str:
        return self.rng.choices(("COMPLETE", "FAIL", "ABORT"), weights=(12, 4, 1))[0]

    def task_event(
        self,
        one: _Try,
        event_type: str,
        second: int,
        times: tuple[int, int],
        inputs: list[Json],
        outputs: list[Json],
    ) -> None:
        facets: Json = {"parent": self.parent_facet(one)}
        shape = self.rng.random()
        if shape < 0.85:
            facets["airflow"] = self.airflow_facet(one)
        if shape < 0.1 or 0.85 < shape < 0.92:  # else the event is keyless, or both name it
            facets["airflowProvenance_task"] = _task_facet(one)
            if self.chance(0.1):  # of the task itself, whose datasets count all the same
                facets["airflowProvenance_task"]["ioOnTask"] = True
        if self.chance(0.35):
            facets["airflowProvenance_run"] = self.our_run_facet(event_type, times)
        if self.chance(0.3):
            facets["airflowProvenance_manifest"] = self.manifest_facet(event_type)
        if one.map_index >= 0:
            facets["airflow_mappedTask"] = _facet({"mapIndex": one.map_index})
        job = (one.namespace, one.job_name)
        self.run_event(
            event_type, second, job, self.try_uuid(one), facets, inputs=inputs, outputs=outputs
        )

    def parent_facet(self, one: _Try) -> Json:
        run = {"runId": self._dag_run_uuid(one.namespace, one.dag_id, one.run_id), "facets": {}}
        job = {"namespace": one.namespace, "name": one.dag_id, "facets": {}}
        return _facet({"job": job, "run": run, "root": {"job": job, "run": run}})

    def airflow_facet(self, one: _Try) -> Json:
        # A cleared DAG may have changed: tries disagree on what is upstream.
        upstream = [task_id for task_id in one.task.upstream if self.chance(0.9)]
        instance: Json = {"try_number": one.try_number, "log_url": "http://localhost:8080/"}
        if one.map_index >= 0 or self.chance(0.1):
            instance["map_index"] = one.map_index
        return _facet(
            {
                "dag": {"dag_id": one.dag_id, "owner": "airflow", "tags": "['t']", "timetable": {}},
                "dagRun": {"dag_id": one.dag_id, "run_id": one.run_id, "run_type": "manual"},
                "task": {
                    "task_id": one.task.task_id,
                    "mapped": one.map_index >= 0,
                    "inlets": "[]",
                    "downstream_task_ids": "[]",
                    # As emitted: the repr of a Python list, not a list.
                    "upstream_task_ids": upstream if self.chance(0.1) else repr(upstream),
                    "operator_class": "_PythonDecoratedOperator",
                },
                "taskInstance": instance,
                "taskUuid": self.try_uuid(one),
            }
        )

    def our_run_facet(self, event_type: str, times: tuple[int, int]) -> Json:
        body: Json = {}
        if self.chance(0.7):
            body["startedAt"] = self.time(times[0] + self.rng.choice((0, 0, 1)))
        if event_type in {"COMPLETE", "FAIL", "ABORT"}:
            if self.chance(0.6):
                body["endedAt"] = self.time(times[1] - self.rng.choice((0, 0, 1)))
            if self.chance(0.6):
                body["state"] = self.rng.choice(
                    {
                        "COMPLETE": ("COMPLETE", "COMPLETE", "SKIPPED", "RUNNING"),
                        "FAIL": ("FAIL", "FAIL", "UP_FOR_RETRY", "UPSTREAM_FAILED"),
                        "ABORT": ("ABORT", "REMOVED", "FAIL"),
                    }[event_type]
                )
        elif self.chance(0.5):
            body["state"] = "RUNNING"
        if self.chance(0.4):
            body["hostname"] = self.rng.choice(("worker-1", "worker-2", None))
        if self.chance(0.35):
            body["consumedAssetEvents"] = self.consumed()
        return _facet(body)

    def manifest_facet(self, event_type: str) -> Json:
        """A manifest: the list of what is installed mostly on START, its hash on every event."""
        listed = self.rng.choice(_INSTALLED)
        text = "".join(f"{one}\n" for one in listed)
        told = sha256(text.encode()).hexdigest()
        if self.chance(0.1):
            told = self.rng.choice((told.upper(), "0" * 64, None))
        body: Json = {"environment": {"python": "3.11.7", "dependenciesHash": told}}
        if self.chance(0.05):
            del body["environment"]
        if self.chance(0.8 if event_type == "START" else 0.1):
            body["dependencies"] = None if self.chance(0.05) else listed
        return _facet(body)

    def consumed(self) -> list[Json]:
        known = self.tries_told if self.tries_told and self.chance(0.8) else [self.some_try()]
        tries = self.rng.choices(known, k=self.rng.choice((0, 1, 1, 2, 3)))
        return [
            {
                "dagId": one.dag_id,
                "runId": one.run_id,
                "taskId": one.task.task_id,
                "mapIndex": one.map_index,
            }
            for one in tries
        ]

    # ---- DAG runs -------------------------------------------------------------------------------

    def dag_run(self) -> None:
        one, started = self.some_try(), self.second()
        ended = started + self.rng.randint(0, 20)
        if self.chance(0.8):
            self.dag_run_event(one, "START", started, (started, ended))
        if self.chance(0.8):
            self.dag_run_event(one, self.terminal_type(), ended, (started, ended))
        if self.chance(0.3):
            self.note("dag_run", one, ended, self.noted((started, ended)))
        if self.chance(0.15):
            self.override(one, ended, of_dag_run=True)

    def dag_run_event(
        self, one: _Try, event_type: str, second: int, times: tuple[int, int]
    ) -> None:
        facets: Json = {}
        if self.chance(0.85):  # else it is keyless, and absorbed unless two run_ids share its runId
            dag = {"dag_id": one.dag_id, "owner": "airflow", "timetable": {}}
            dag_run = {"dag_id": one.dag_id, "run_id": one.run_id, "run_type": "manual"}
            facets["airflowDagRun"] = _facet({"dag": dag, "dagRun": dag_run})
            facets["airflowState"] = _facet({"dagRunState": "success", "tasksState": {}})
        if self.chance(0.4):
            facets["airflowProvenance_run"] = self.our_run_facet(event_type, times)
        # Some operators put what they wrote on the DAG run.
        is_writer, is_reader = self.chance(0.15), self.chance(0.15)
        self.run_event(
            event_type,
            second,
            (one.namespace, one.dag_id),
            self._dag_run_uuid(one.namespace, one.dag_id, one.run_id),
            facets,
            inputs=self.datasets(None, "inputs") if is_reader else [],
            outputs=self.datasets(None, "outputs") if is_writer else [],
        )

    # ---- Notes ----------------------------------------------------------------------------------

    def note(self, kind: str, one: _Try, second: int, said: Json, *, of_task: bool = False) -> None:
        body: Json = {
            "kind": kind,
            "namespace": one.namespace,
            "dagId": one.dag_id,
            "runId": one.run_id,
        }
        if of_task:
            body["taskId"] = one.task.task_id
            body["mapIndex"] = one.map_index
            body["tryNumber"] = one.try_number
        self.add("N", {**body, "at": self.time(max(0, second)), **said})

    def noted(self, times: tuple[int, int]) -> Json:
        said: Json = {"state": self.rng.choice(("RUNNING", "COMPLETE", "COMPLETE", *_STATES))}
        if self.chance(0.6):
            said["startedAt"] = self.time(times[0])
        if said["state"] != "RUNNING" and self.chance(0.6):
            said["endedAt"] = self.time(times[1])
        if self.chance(0.4):
            said["hostname"] = self.rng.choice(("worker-1", "worker-3"))
        if self.chance(0.1):
            said["who"] = "scheduler"
        if self.chance(0.05):
            del said["state"]
        if self.chance(0.25):
            said["synthesised"] = True
        return said

    def task_note(self, one: _Try, times: tuple[int, int]) -> None:
        at = times[1] + self.rng.choice((-1, 0, 0, 2))
        self.note("task_run", one, at, self.noted(times), of_task=True)

    def override(self, one: _Try, ended: int, *, of_dag_run: bool = False) -> None:
        """A change made by hand: before, at or after the end of the run."""
        state = self.rng.choice(("COMPLETE", "FAIL", *_STATES))
        said = {"state": state, "who": self.rng.choice(("ana", "ben"))}
        at = ended + self.rng.choice((-3, 0, 1, 4))
        if self.chance(0.25):
            said["synthesised"] = True
        self.note("state_override", one, at, said, of_task=not of_dag_run)

    def lone_note(self) -> None:
        """A note of a run that may have no event at all."""
        one, started = self.some_try(), self.second()
        times = (started, started + self.rng.randint(0, 20))
        kind = self.rng.choice(("task", "dag", "override", "override_dag"))
        if kind == "task":
            self.task_note(one, times)
        elif kind == "dag":
            self.note("dag_run", one, times[1], self.noted(times))
        else:
            self.override(one, times[1], of_dag_run=kind == "override_dag")

    # ---- Runs of others -------------------------------------------------------------------------

    def wire_run(self, job: tuple[str, str], run_uuid: str, facets: Json, producer: str) -> None:
        started = self.second()
        ended = started + self.rng.randint(0, self.longest)
        inputs, outputs = self.datasets(None, "inputs"), self.datasets(None, "outputs")
        if self.chance(0.8):
            self.run_event("START", started, job, run_uuid, facets, producer, inputs=inputs)
        if self.chance(0.2):  # Flink's checkpoints, Spark's stages
            self.run_event("RUNNING", ended, job, run_uuid, {}, producer, outputs=outputs)
        if self.chance(0.8):
            event_type = self.terminal_type()
            self.run_event(event_type, ended, job, run_uuid, facets, producer, inputs, outputs)

    def child_run(self) -> None:
        """A query or Spark application that a task started: it names its task, and a parent."""
        one = self.some_try()
        number = self.rng.randint(1, 2)
        if self.chance(0.5):
            producer = _PRODUCER
            job = (one.namespace, f"{one.job_name}.query.{number}")
        else:
            producer = _FOREIGN_PRODUCERS["spark"]
            job = (one.namespace, "nightly.execute_insert_into_totals")
        parent_job = {"namespace": one.namespace, "name": one.job_name}
        parent = _facet({"job": parent_job, "run": {"runId": self.try_uuid(one)}})
        facets: Json = {"airflowProvenance_task": _task_facet(one)}
        if self.chance(0.4):
            facets["airflowProvenance_task"]["ioOnTask"] = self.chance(0.8)
        if self.chance(0.7):
            facets["parent"] = parent
        if self.chance(0.1):
            facets["airflowProvenance_run"] = self.our_run_facet("COMPLETE", (5, 9))
        # The number of the try is not always in the runId: two tries may share a child.
        run_uuid = _uuid(*job, one.run_id, self.rng.choice((0, one.map_index)), number)
        self.wire_run(job, run_uuid, facets, producer)

    def foreign_run(self) -> None:
        kind = self.rng.choice(sorted(_FOREIGN_PRODUCERS))
        producer = _FOREIGN_PRODUCERS[kind]
        job = {
            "spark": ("spark", "nightly.append_data_totals"),
            "dbt": ("dbt", "shop.totals.build.run"),
            "flink": ("flink", "orders_stream"),
        }[kind]
        facets: Json = {}
        if kind == "dbt":
            facets["dbt_version"] = _facet({"version": "1.10.1"})
        if self.chance(0.6):
            one = self.some_try()
            facets["parent"] = self.rng.choice(
                (
                    self.parent_facet(one),
                    _facet(
                        {
                            "job": {"namespace": job[0], "name": "root"},
                            "run": {"runId": _uuid(kind, "root").upper()},
                        }
                    ),
                )
            )
        self.wire_run(job, _uuid(*job, self.rng.randint(1, 3)), facets, producer)

    # ---- Trouble --------------------------------------------------------------------------------

    def keyless_event(self) -> None:
        """An event of a task or DAG run from which the facets that name it are missing."""
        one, second = self.some_try(), self.second()
        event_type = self.rng.choice(("START", "RUNNING", "COMPLETE", "COMPLETE", "FAIL"))
        if self.chance(0.3):
            job = (one.namespace, one.dag_id)
            run_uuid = self._dag_run_uuid(one.namespace, one.dag_id, one.run_id)
        else:
            job, run_uuid = (one.namespace, one.job_name), self.try_uuid(one)
        facets: Json = {"airflow": None} if self.chance(0.2) else {}
        if self.chance(0.3):
            facets["parent"] = self.parent_facet(one)
        if self.chance(0.3):
            facets["airflowProvenance_run"] = self.our_run_facet(event_type, (second, second))
        inputs, outputs = self.datasets(one.task.reads, "inputs"), []
        if self.writes(one):
            outputs = self.datasets(one.task.writes, "outputs")
        self.run_event(event_type, second, job, run_uuid, facets, inputs=inputs, outputs=outputs)

    def clashing_run_id(self) -> None:
        """Two tries under one runId, and perhaps an event that could belong to either."""
        one, second = self.some_try(), self.second()
        job, run_uuid = (one.namespace, one.job_name), self.try_uuid(one)
        other = _Try(
            one.namespace, one.dag_id, "backfill__3", one.task, one.map_index, one.try_number
        )
        for each in self.rng.sample((one, other), k=2):
            facets = {"airflow": self.airflow_facet(each)}
            self.run_event(
                self.rng.choice(("START", "COMPLETE")),
                second,
                job,
                run_uuid,
                facets,
                inputs=self.datasets(one.task.reads, "inputs"),
                outputs=self.datasets(one.task.writes, "outputs") if self.writes(one) else [],
            )
        if self.chance(0.6):
            outputs = self.datasets(one.task.writes, "outputs")
            self.run_event("COMPLETE", second + 1, job, run_uuid, {}, outputs=outputs)

    def misnamed_job(self) -> None:
        """An event with a task's official facet, but of another job: not the task's."""
        one, second = self.some_try(), self.second()
        facets: Json = {"airflow": self.airflow_facet(one)}
        if self.chance(0.4):
            facets["parent"] = self.parent_facet(one)
        if self.chance(0.3):
            facets["airflowDagRun"] = _facet(
                {"dag": {"dag_id": one.dag_id}, "dagRun": {"run_id": one.run_id}}
            )
        name = self.rng.choice((f"{one.job_name}.query.1", one.dag_id))
        outputs = self.datasets(one.task.writes, "outputs")
        self.run_event(
            self.terminal_type(),
            second,
            (one.namespace, name),
            self.try_uuid(one),
            facets,
            outputs=outputs,
        )

    def job_event(self) -> None:
        one = self.some_try()
        name = self.rng.choice((one.job_name, "orders_stream", "never_ran"))
        event: Json = {
            "eventTime": self.time(self.second()),
            "job": {"namespace": one.namespace, "name": name, "facets": _job_type("JOB")},
            "producer": _FOREIGN_PRODUCERS["flink"],
            "schemaURL": _SPEC + "JobEvent",
        }
        if self.chance(0.5):
            event["inputs"] = self.datasets(None, "inputs")
            event["outputs"] = [{"namespace": "kafka://broker", "name": "orders", "facets": {}}]
        self.add("E", event)

    def dataset_event(self) -> None:
        number = self.rng.randrange(len(_DATASETS))
        dataset = self.dataset(number, None, self.rng.choice(("inputs", "outputs")))
        if self.chance(0.3):
            dataset = {"namespace": "s3://lake", "name": "catalogued only"}
        event = {
            "eventTime": self.time(self.second()),
            "dataset": dataset,
            "producer": _PRODUCER,
            "schemaURL": _SPEC + "DatasetEvent",
        }
        self.add("E", event)

    def repetition(self) -> None:
        """The same bytes once more, as after a delivery that was not acknowledged."""
        if self.entries:
            self.entries.append(self.rng.choice(self.entries))


def _uuid(*parts: object) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, parts))))


def _facet(body: Json) -> Json:
    return {"_producer": _PRODUCER, "_schemaURL": _FACET_SPEC + "1-0-0/Facet.json", **body}


def _job_type(job_type: str) -> Json:
    return {"jobType": _facet({"processingType": "BATCH", "jobType": job_type})}


def _task_facet(one: _Try) -> Json:
    return _facet(
        {
            "dagId": one.dag_id,
            "runId": one.run_id,
            "taskId": one.task.task_id,
            "mapIndex": one.map_index,
            "tryNumber": one.try_number,
        }
    )
