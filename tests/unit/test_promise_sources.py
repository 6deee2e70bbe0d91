"""All promises in one place: files and DAGs, unique ids, the last good set (A2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.collect.airflow_promises import DagPromises
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.errors import StoreUnavailableError
from airflow_provenance.sla.policy import Policy, from_plain
from airflow_provenance.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


def promise(slug: str, at: str = "09:00", **values: Any) -> Policy:
    plain = {"id": slug, "target": {"dag": "d"}, "objective": {"kind": "deadline", "at": at}}
    return from_plain({**plain, **values})


class Dags:
    """Serialized DAGs that a test writes down."""

    def __init__(self) -> None:
        self.dags: dict[str, DagPromises] = {}
        self.is_down = False

    def write(self, dag: str, *policies: Policy, problems: list[str] | None = None) -> None:
        at_us = 1_000_000_000 + len(self.dags)
        self.dags[dag] = DagPromises(dag, 1, at_us, list(policies), problems or [])

    def promises(self, since_us: int = 0) -> list[DagPromises]:
        if self.is_down:
            raise StoreUnavailableError("Airflow's database cannot be read")
        return [one for one in self.dags.values() if one.updated_us >= since_us]

    def serialized(self) -> set[str]:
        return set(self.dags)


class Files:
    def __init__(self, folder: Path) -> None:
        self.path, self.stamp = folder / "a.yaml", 0
        self.pattern = str(folder / "*.yaml")

    def write(self, *lines: str) -> None:
        self.path.write_text("\n".join(["promises:", *lines]))
        self.stamp += 1
        os.utime(self.path, (self.stamp, self.stamp))


def line(slug: str, at: str = "09:00") -> str:
    return f'  - {{id: {slug}, target: {{dag: d}}, objective: {{kind: deadline, at: "{at}"}}}}'


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def ids(sources: PromiseSources) -> dict[str, str]:
    return {one.policy.id: f"{name} {one.policy.objective.at}" for name, one in sources.active}  # type: ignore[union-attr]


def test_promises_of_files_and_dags_are_in_force_together(files: Files) -> None:
    files.write(line("a"))
    dags = Dags()
    dags.write("one", promise("b"))
    sources = PromiseSources(files.pattern, dags)
    assert sources.refresh()
    assert ids(sources) == {"a": "file 09:00", "b": "dag:one 09:00"}
    assert not sources.refresh()


def test_the_same_promise_from_two_dags_is_one_and_another_under_its_id_is_refused(
    files: Files,
) -> None:
    dags = Dags()
    dags.write("one", promise("asset"))
    dags.write("two", promise("asset"))
    dags.write("three", promise("asset", "10:00"))
    sources = PromiseSources("", dags)
    sources.refresh()
    assert list(ids(sources)) == ["asset"]
    (problem,) = sources.problems
    assert "id 'asset' is taken" in problem


def test_who_had_an_id_first_keeps_it(files: Files) -> None:
    dags = Dags()
    dags.write("one", promise("a", "10:00"))
    sources = PromiseSources(files.pattern, dags)
    sources.refresh()
    files.write(line("a"))
    assert sources.refresh()
    assert ids(sources) == {"a": "dag:one 10:00"}
    assert sources.problems
    del dags.dags["one"]
    sources.refresh()
    assert ids(sources) == {"a": "file 09:00"}
    assert sources.problems == []


def test_the_last_good_set_stays_where_a_source_is_wrong_also_over_a_restart(files: Files) -> None:
    files.write(line("a"))
    dags = Dags()
    dags.write("one", promise("b"))
    store = MemoryStore()
    sources = PromiseSources(files.pattern, dags)
    sources.refresh()
    store.put_policies(sources.rows(), 1)
    files.write(line("a", "10:00"), line("c", "wrong"))
    dags.write("one", problems=["at is 'x'"])
    assert sources.refresh()
    good = {"a": "file 09:00", "b": "dag:one 09:00"}
    assert ids(sources) == good
    assert len(sources.problems) == 2

    again = PromiseSources(files.pattern, dags, store.policies())
    again.refresh()
    assert ids(again) == good
    assert len(again.problems) == 2
    files.write(line("c"))
    again.refresh()
    assert ids(again) == {"b": "dag:one 09:00", "c": "file 09:00"}


def test_promises_stay_while_airflow_is_down_and_end_with_their_dag(files: Files) -> None:
    dags = Dags()
    dags.write("one", promise("b"))
    sources = PromiseSources(files.pattern, dags)
    sources.refresh()
    dags.is_down = True
    files.write(line("a"))
    with pytest.raises(StoreUnavailableError):
        sources.refresh()
    assert list(ids(sources)) == ["a", "b"]
    dags.is_down = False
    dags.dags.clear()
    sources.refresh()
    assert list(ids(sources)) == ["a"]
