"""The manifest of a task run, as it is spooled, and what comparing two of them tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psutil
import pytest

from airflow_provenance.capture import git, installed
from airflow_provenance.capture.manifest import manifest_of
from airflow_provenance.domain.identity import TaskRef
from airflow_provenance.emit import notes, redact
from airflow_provenance.emit.notes import ManifestNotes, TaskRunNotes
from airflow_provenance.emit.redact import MASK
from airflow_provenance.emit.transport import prepare
from airflow_provenance.formats import facets
from airflow_provenance.lineage.compare import Comparison, compare
from airflow_provenance.store.memory import MemoryStore
from tests.support.facet_schemas import own_facet_problems

Json = dict[str, Any]


class Operator:
    """Stands for an operator; not part of any distribution."""

    template_fields = ()
    queue, pool, executor = "default", "default_pool", None


@pytest.fixture(autouse=True)
def no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_current", None)


@pytest.fixture
def dag_file(tmp_path: Path) -> Path:
    file = tmp_path / "bundle" / "flights" / "month.py"
    file.parent.mkdir(parents=True)
    file.write_text("# a DAG\n")
    return file


def task_instance(dag_file: Path, **members: Any) -> SimpleNamespace:
    task = members.pop("task", None) or Operator()
    task.dag = SimpleNamespace(fileloc=str(dag_file))
    context = {
        "params": members.pop("params", {"month": "2013-01"}),
        "dag_run": SimpleNamespace(conf=members.pop("conf", {})),
    }
    known = {
        "dag_id": "flights",
        "task_id": "ingest",
        "run_id": "manual__1",
        "map_index": -1,
        "try_number": 1,
        "dag_version_id": "v1",
        "hostname": "worker-1",
        "queue": "default",
        "task": task,
        "bundle_instance": SimpleNamespace(name="main", version="abc", path=dag_file.parents[1]),
        "get_template_context": lambda: context,
    }
    return SimpleNamespace(**{**known, **members})


def spooled(manifest: ManifestNotes, run_id: str = "r1", event_type: str = "START") -> bytes:
    """Return the event of a task run as our transport spools it."""
    notes.begin(TaskRunNotes(TaskRef("flights", run_id, "ingest", -1, 1), manifest=manifest))
    second = 1 if event_type == "START" else 2
    return prepare(
        {
            "eventType": event_type,
            "eventTime": f"2027-01-15T08:00:0{second}Z",
            "run": {"runId": str(uuid5(NAMESPACE_URL, run_id)), "facets": {}},
            "job": {"namespace": "default", "name": "flights.ingest"},
            "inputs": [],
            "outputs": [],
            "producer": "https://example.com",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
    )


def facet_of(raw: bytes) -> Json:
    facet: Json = json.loads(raw)["run"]["facets"][facets.MANIFEST]
    assert own_facet_problems(facets.MANIFEST, facet) == []
    assert facet["hash"] == facets.manifest_hash(facet)
    return facet


def manifest(ti: SimpleNamespace) -> Json:
    return facet_of(spooled(manifest_of(ti)))


def compared(left: ManifestNotes, right: ManifestNotes) -> Comparison:
    store = MemoryStore()
    for run_id, one in (("left", left), ("right", right)):
        for event_type in ("START", "COMPLETE"):
            store.ingest([("E", spooled(one, run_id, event_type))], received_us=1)
    (a,), (b,) = (store.runs_named(run_id) for run_id in ("left", "right"))
    return compare(store, a, b)


def paths(answer: Comparison) -> Json:
    return {one.path: (one.left, one.right) for one in answer.manifest}


def repository(folder: Path) -> str:
    """Make a git repository of a folder; return its commit."""

    def run(*arguments: str) -> str:
        author = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        return subprocess.run(
            ["git", *author, *arguments],
            cwd=folder,
            env=clean,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    run("init", "--quiet")
    run("add", ".")
    run("commit", "--quiet", "-m", "The DAG")
    return run("rev-parse", "HEAD")


# ---- What it holds -------------------------------------------------------------------------------


def test_it_tells_ids_of_connections_and_the_image_it_was_told(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__IMAGE", "airflow@sha256:0123")
    task = Operator()
    task.conn_id, task.gcp_conn_id, task.other_conn_id = "warehouse", "lake", None

    found = manifest(task_instance(dag_file, task=task))

    assert found["parameters"]["connections"] == {"conn_id": "warehouse", "gcp_conn_id": "lake"}
    assert found["environment"]["image"] == "airflow@sha256:0123"


def test_it_tells_code_environment_parameters_and_place(dag_file: Path) -> None:
    found = manifest(task_instance(dag_file, conf={"by": "hand"}))

    code = found["code"]
    assert (code["dagId"], code["taskId"], code["dagVersionId"]) == ("flights", "ingest", "v1")
    assert (code["bundleName"], code["bundleVersion"]) == ("main", "abc")
    assert code["dagFile"] == "flights/month.py"
    assert code["operator"] == f"{__name__}.Operator"
    assert found["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["environment"]["airflow"] == metadata.version("apache-airflow-core")
    assert found["parameters"] == {
        "params": {"month": "2013-01"},
        "conf": {"by": "hand"},
        "rendered": {},
    }
    assert found["placement"]["hostname"] == "worker-1"
    assert set(found["absent"]) == {
        *("code.operatorDistribution", "code.git"),
        *("code.dagVersionNumber", "environment.image"),
    }


def test_what_fails_is_absent_and_costs_nothing_else() -> None:
    found = manifest(SimpleNamespace(dag_id="flights", try_number=1))

    assert found["code"] == {"dagId": "flights"}
    assert found["environment"]["python"]
    assert found["parameters"] == {}
    assert {"code.taskId", "code.git", "parameters"} <= set(found["absent"])


def test_the_installed_list_is_what_importlib_says() -> None:
    said = {
        (one.metadata["Name"].lower().replace("_", "-").replace(".", "-"), one.version)
        for one in metadata.distributions()
    }

    assert {tuple(one.split("==")) for one in installed.dependency_list()} == said


def test_an_operators_distribution_is_found_by_name_or_by_its_files() -> None:
    import _pytest.config
    import airflow.providers.standard.operators.python
    import airflow.sdk.bases.operator
    import yaml

    found = {
        module.__name__: one.name if (one := installed.distribution_of(module.__name__)) else None
        for module in (
            airflow.providers.standard.operators.python,
            airflow.sdk.bases.operator,
            yaml,
            _pytest.config,
            json,
        )
    }

    assert list(found.values()) == [
        "apache-airflow-providers-standard",
        "apache-airflow-task-sdk",
        "pyyaml",
        "pytest",
        None,
    ]


def test_the_list_of_what_is_installed_is_on_start_alone(dag_file: Path) -> None:
    noted = manifest_of(task_instance(dag_file))

    assert facet_of(spooled(noted))["dependencies"] == list(installed.dependency_list())
    assert "dependencies" not in facet_of(spooled(noted, event_type="COMPLETE"))


def test_a_short_known_secret_leaves_the_list_what_its_hash_says(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A database's password may be an ordinary word that names of packages hold.
    known = redact.KnownSecrets((re.compile("airflow"),))
    monkeypatch.setattr(redact, "airflow_secrets", lambda: known)
    store = MemoryStore()

    report = store.ingest([("E", spooled(manifest_of(task_instance(dag_file))))], received_us=1)

    assert report.warnings == []
    assert [one for _, one in store.scan_dependencies()] == [list(installed.dependency_list())]


# ---- Secrets, sizes, odd values ------------------------------------------------------------------


def test_secrets_are_masked_before_the_hash_is_taken(dag_file: Path) -> None:
    def params(secret: str) -> Json:
        uri = f"postgresql://ann:{secret}@db/x"
        # `producer` and `fields` exempt OpenLineage's own members, not a user's.
        return {"password": secret, "producer": uri, "fields": {"token": {"is": secret}}}

    first, second = (
        spooled(manifest_of(task_instance(dag_file, params=params(secret))))
        for secret in ("hunter2", "hunter3")
    )

    assert b"hunter" not in first
    assert facet_of(first)["parameters"]["params"] == {
        "password": MASK,
        "producer": f"postgresql://{MASK}@db/x",
        "fields": {"token": {"is": MASK}},
    }
    assert facet_of(first)["hash"] == facet_of(second)["hash"]


def test_a_secret_is_masked_before_its_text_is_cut(dag_file: Path) -> None:
    text = "x" * 4090 + " postgresql://ann:hunter2@db/x " + "y" * 100

    found = manifest(task_instance(dag_file, params={"sql": text}))

    kept = found["parameters"]["params"]["sql"]
    assert len(kept) == 4096 + len("...")
    assert "ann" not in kept
    assert found["absent"]["parameters.params.sql"].startswith("cut to 4096 of ")


def test_many_parameters_are_kept_as_far_as_there_is_room(dag_file: Path) -> None:
    params = {f"p{number:04}": "x" * 1000 for number in range(1000)}

    found = manifest(task_instance(dag_file, params=params))

    assert 60 < len(found["parameters"]["params"]) < 70
    assert found["absent"]["parameters.params"].endswith("of 1000 are kept: too large")


def test_odd_values_become_what_json_has(dag_file: Path) -> None:
    deep: list[Any] = []
    deep.append(deep)
    odd = {
        "big": 1 << 70,
        "nan": float("nan"),
        "set": {"b", "a"},
        "when": datetime(2013, 1, 1, tzinfo=UTC),
        "object": object(),
        3: "\udcff",
        "deep": deep,
    }

    found = manifest(task_instance(dag_file, params=odd))["parameters"]["params"]

    assert found.pop("deep")
    assert found == {
        "big": str(1 << 70),
        "nan": "nan",
        "set": ["a", "b"],
        "when": "2013-01-01T00:00:00+00:00",
        "object": "<builtins.object>",
        "3": "\\udcff",
    }


# ---- What a comparison tells ---------------------------------------------------------------------


def test_the_same_twice_has_one_hash_whatever_the_place(dag_file: Path) -> None:
    answer = compared(
        manifest_of(task_instance(dag_file)),
        manifest_of(task_instance(dag_file, hostname="worker-2", try_number=2, queue="other")),
    )

    assert not answer.differs
    assert answer.hashes[0] == answer.hashes[1] is not None


def test_one_parameter_changed_is_all_that_differs(dag_file: Path) -> None:
    answer = compared(
        manifest_of(task_instance(dag_file)),
        manifest_of(task_instance(dag_file, params={"month": "2013-02"})),
    )

    assert paths(answer) == {"parameters.params.month": ("2013-01", "2013-02")}
    assert answer.differs
    assert answer.hashes[0] != answer.hashes[1]


def test_one_library_upgraded_is_all_that_differs(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = manifest_of(task_instance(dag_file))
    listed = installed.dependency_list()
    upgraded = tuple("pyyaml==99" if one.startswith("pyyaml==") else one for one in listed)
    monkeypatch.setattr(installed, "dependency_list", lambda: upgraded)

    answer = compared(before, manifest_of(task_instance(dag_file)))

    assert paths(answer) == {}
    (one,) = answer.dependencies
    assert (one.path, one.left, one.right) == ("pyyaml", metadata.version("pyyaml"), "99")
    assert answer.hashes[0] != answer.hashes[1]


def test_the_upgraded_library_is_named_when_raw_events_are_gone(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    for run_id, version in (("left", "1"), ("right", "2")):
        monkeypatch.setattr(installed, "dependency_list", lambda v=version: ("a==1", f"b=={v}"))
        noted = manifest_of(task_instance(dag_file))
        for event_type in ("START", "COMPLETE"):
            store.ingest([("E", spooled(noted, run_id, event_type))], received_us=1)
    store.expire(1 << 60)
    assert store.counts()["entries"] == 0
    (left,), (right,) = (store.runs_named(run_id) for run_id in ("left", "right"))

    answer = compare(store, left, right)

    assert [(one.path, one.left, one.right) for one in answer.dependencies] == [("b", "1", "2")]
    assert (paths(answer), answer.remarks) == ({}, compare(store, left, left).remarks)


def test_without_a_list_the_hash_still_tells_that_something_was_upgraded(dag_file: Path) -> None:
    store = MemoryStore()
    noted = manifest_of(task_instance(dag_file))
    store.ingest([("E", spooled(noted, "left"))], received_us=1)
    noted.environment["dependenciesHash"] = "0" * 64
    store.ingest([("E", spooled(noted, "right", "COMPLETE"))], received_us=1)
    (left,), (right,) = (store.runs_named(run_id) for run_id in ("left", "right"))

    answer = compare(store, left, right)

    assert set(paths(answer)) == {"environment.dependenciesHash"}
    assert "what is installed differs, but the lists of it are not known" in answer.remarks


def test_one_line_changed_in_the_dag_is_all_that_differs(dag_file: Path) -> None:
    before = manifest_of(task_instance(dag_file))
    dag_file.write_text("# another DAG\n")

    answer = compared(before, manifest_of(task_instance(dag_file)))

    assert set(paths(answer)) == {"code.dagFileSha256"}


def test_a_run_without_manifest_is_remarked(dag_file: Path) -> None:
    store = MemoryStore()
    store.ingest([("E", spooled(manifest_of(task_instance(dag_file)), "left"))], received_us=1)
    bare = json.loads(spooled(ManifestNotes(), "right"))
    del bare["run"]["facets"][facets.MANIFEST]
    store.ingest([("E", json.dumps(bare).encode())], received_us=1)
    (left,), (right,) = (store.runs_named(run_id) for run_id in ("left", "right"))

    answer = compare(store, left, right)

    assert answer.remarks == [f"run {right.id} has no manifest"]
    assert not answer.differs


# ---- git -----------------------------------------------------------------------------------------


def test_the_commit_is_that_of_the_dags_repository(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(tmp_path / "bundle")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    repository(elsewhere)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    (tmp_path / "bundle" / "beside.csv").touch()  # not tracked: no change of the code

    found = manifest(task_instance(dag_file))["code"]["git"]

    assert found == {"commit": commit, "dirty": False, "dagFileTracked": True}


@pytest.mark.parametrize("linked", [False, True])
def test_a_changed_file_makes_it_dirty(dag_file: Path, tmp_path: Path, linked: bool) -> None:
    commit = repository(tmp_path / "bundle")
    dag_file.write_text("# changed\n")
    if linked:  # as git-sync does
        (tmp_path / "link").symlink_to(tmp_path / "bundle")
        dag_file = tmp_path / "link" / "flights" / "month.py"

    found = manifest(task_instance(dag_file))["code"]["git"]

    assert found == {"commit": commit, "dirty": True, "dagFileTracked": True}


def test_a_dag_file_that_is_not_tracked_is_not_that_commits(dag_file: Path, tmp_path: Path) -> None:
    repository(tmp_path / "bundle")
    new = dag_file.with_name("new.py")
    new.touch()

    found = manifest(task_instance(new))["code"]["git"]

    assert (found["dirty"], found["dagFileTracked"]) == (True, False)


@pytest.mark.parametrize("version", [2, 4])
def test_the_index_says_that_a_file_is_tracked_only_where_git_says_so(
    dag_file: Path, tmp_path: Path, version: int
) -> None:
    bundle = tmp_path / "bundle"
    tracked = ["flights/month.py", "flights/" + "long" * 60 + ".py", "été.py", "linked.py"]
    for name in tracked[1:3]:
        (bundle / name).touch()
    (bundle / "linked.py").symlink_to("no.py")
    repository(bundle)
    if version == 4:
        subprocess.run(["git", "update-index", "--index-version=4"], cwd=bundle, check=True)
    # The ends of tracked names, a folder, one that is only intended, one that is not there.
    others = ["month.py", "py", "flights", "added.py", "no.py"]
    (bundle / "added.py").touch()
    subprocess.run(["git", "add", "--intent-to-add", "added.py"], cwd=bundle, check=True)
    index = bundle / ".git" / "index"

    said = [name for name in [*tracked, *others] if git.in_index(index, name.encode())]

    assert said == (tracked if version == 2 else [])
    assert manifest(task_instance(dag_file))["code"]["git"]["dagFileTracked"] is True
    assert not git.in_index(bundle / ".git" / "none", b"month.py")


def test_a_tracked_file_takes_one_process(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "bundle")
    counting = tmp_path / "counting-git"
    counting.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\nexec git "$@"\n')
    counting.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(counting))

    assert manifest(task_instance(dag_file))["code"]["git"]["dagFileTracked"] is True

    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_a_repository_without_commit_has_none(dag_file: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "bundle", check=True)

    found = manifest(task_instance(dag_file))

    assert "git" not in found["code"]
    assert found["absent"]["code.git"] == "the git repository has no commit yet"


def test_a_git_that_hangs_is_left_behind(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(tmp_path / "bundle")
    slow = tmp_path / "slow-git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(slow))
    monkeypatch.setattr(git, "_SECONDS", 0.2)
    began = time.monotonic()

    found = manifest(task_instance(dag_file))

    assert time.monotonic() - began < 5
    assert found["code"]["git"] == {"commit": commit}
    assert found["absent"]["code.git"] == "git took longer than 0.2 s"


def test_what_a_git_that_hangs_has_started_is_ended_with_it(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "bundle")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    slow = tmp_path / "slow-git"
    slow.write_text(f"#!/bin/sh\n{{ echo began; sleep 60; }} > {pipe} &\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(slow))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    assert "took longer" in manifest(task_instance(dag_file))["absent"]["code.git"]

    os.set_blocking(reader, True)
    # To the end, which comes when nobody has the pipe any more.
    with os.fdopen(reader) as said:
        began = time.monotonic()
        assert said.read() == "began\n"
    assert time.monotonic() - began < 30


def test_without_git_the_commit_is_read_from_its_files(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    commit = repository(bundle)
    subprocess.run(["git", "pack-refs", "--all"], cwd=bundle, check=True)
    subprocess.run(["git", "worktree", "add", "-q", "../tree"], cwd=bundle, check=True)
    monkeypatch.setattr(git, "_GIT", "no-such-git")

    for one in (dag_file, tmp_path / "tree" / "flights" / "month.py"):
        found = manifest(task_instance(one))
        assert found["code"]["git"] == {"commit": commit}
        assert "could not be run" in found["absent"]["code.git"]


def open_files() -> list[str]:
    return sorted(one.name for one in Path("/proc/self/fd").iterdir())


def children() -> set[int]:
    """Every process that this one has started and not waited for, dead ones too."""
    return {one.pid for one in psutil.Process().children()}


@pytest.mark.parametrize("answers", [True, False])
def test_every_process_of_a_task_gets_one_answer_and_nothing_is_left_of_git(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    commit = repository(tmp_path / "bundle")
    slow = tmp_path / "slow-git"
    # It answers later than the parent looks, or never.
    slow.write_text(f'#!/bin/sh\nsleep 0.2\n{"exec git" if answers else "sleep 60; :"} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(slow))
    monkeypatch.setattr(git, "_SECONDS", 30.0 if answers else 0.4)
    manifest(task_instance(dag_file))  # what is opened once is open
    before, children_before = open_files(), children()

    noted = manifest_of(task_instance(dag_file))
    noted.settle(wait=False)
    assert noted.git is not None
    said = []
    for number in range(2):  # as the official provider sends its events
        file = tmp_path / str(number)
        if (child := os.fork()) == 0:
            file.write_bytes(spooled(noted, event_type="START"))
            os._exit(0)
        os.waitpid(child, 0)
        said.append(facet_of(file.read_bytes()))
    # What git would be asked, or read, now is something else.
    dag_file.write_text("# changed\n")
    (tmp_path / "bundle" / ".git" / "HEAD").write_text("ab" * 20)
    noted.settle(wait=False)
    said.append(facet_of(spooled(noted)))

    known = {"dirty": False, "dagFileTracked": True} if answers else {}
    assert said[0]["code"]["git"] == {"commit": commit, **known}
    assert said[0]["absent"].get("code.git") == (None if answers else "git took longer than 0.4 s")
    assert said[1:] == said[:1] * 2
    assert noted.git is None
    assert open_files() == before
    assert children() == children_before


def test_a_question_that_nobody_waits_for_leaves_nothing_behind(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "bundle")
    slow = tmp_path / "slow-git"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(slow))
    monkeypatch.setattr(git, "_SECONDS", 30.0)
    before, children_before = open_files(), children()

    noted = manifest_of(task_instance(dag_file))
    noted.settle(wait=False)
    assert noted.git is not None
    del noted

    assert open_files() == before
    assert children() == children_before


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'fatal: bad index' >&2; exit 128", "git failed: fatal: bad index"),
        ("kill -9 $$", "git failed: it did not answer"),
        ("echo '# branch.oid abc'; echo 'fatal: bad tree' >&2", "git failed: fatal: bad tree"),
    ],
)
def test_a_git_that_fails_is_no_answer(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    commit = repository(tmp_path / "bundle")
    failing = tmp_path / "failing-git"
    failing.write_text(f"#!/bin/sh\n{script}\n")
    failing.chmod(0o755)
    monkeypatch.setattr(git, "_GIT", str(failing))

    found = manifest(task_instance(dag_file))

    assert (found["code"]["git"], found["absent"]["code.git"]) == ({"commit": commit}, reason)


def test_a_tracked_file_is_asked_for_where_the_index_cannot_tell(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "bundle")
    # As one that fails where it is asked for files alone.
    failing = tmp_path / "failing-git"
    failing.write_text('#!/bin/sh\ncase "$*" in *ls-files*) exit 1;; esac\nexec git "$@"\n')
    failing.chmod(0o755)
    monkeypatch.setattr(git, "in_index", lambda *_: False)

    assert manifest(task_instance(dag_file))["code"]["git"]["dagFileTracked"] is True

    monkeypatch.setattr(git, "_GIT", str(failing))
    assert "it did not answer" in manifest(task_instance(dag_file))["absent"]["code.git"]
