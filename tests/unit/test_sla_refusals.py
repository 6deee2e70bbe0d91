"""A promise that is refused is told what is allowed there, and what was probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.declare import promise
from airflow_provenance.sla.files import read_files
from airflow_provenance.sla.objectives import OBJECTIVES, Duration, EndToEndLatency
from airflow_provenance.sla.policy import MalformedPolicyError, Target, from_plain

if TYPE_CHECKING:
    from pathlib import Path

PROMISE: dict[str, Any] = {
    "id": "a",
    "target": {"dag": "shop"},
    "objective": {"kind": "duration", "at_most": "5m"},
}
DATASET = {"target": {"dataset": "pg/shop.orders"}}


@pytest.mark.parametrize(
    ("change", "reason", "path"),
    [
        (
            {"objective": {"kind": "duratoin"}},
            f"kind is 'duratoin': did you mean 'duration'? use one of {', '.join(OBJECTIVES)}",
            ("objective", "kind"),
        ),
        (
            {"objective": {"at_most": "5m"}},
            f"kind is missing: use one of {', '.join(OBJECTIVES)}",
            ("objective", "kind"),
        ),
        (
            {"objective": {"kind": "duration", "at_mots": "5m"}},
            "unknown field 'at_mots': did you mean 'at_most'? duration takes at_most, over, since",
            ("objective", "at_mots"),
        ),
        (
            {"objective": {"kind": "duration"}},
            "at_most is missing: duration needs it, a length of time",
            ("objective",),
        ),
        (
            {"target": {"dga": "shop"}},
            "unknown field 'dga': did you mean 'dag'? a target takes dag, task, dataset, job",
            ("target", "dga"),
        ),
        (
            {"severity": "pages"},
            "severity is 'pages': did you mean 'page'? write one of page, ticket",
            ("severity",),
        ),
        (
            {"runs": ["scheduled", "by_hand"]},
            "runs is 'by_hand': write one of asset_materialization, asset_triggered, ",
            ("runs", 1),
        ),
        ({"notify": "oncall"}, "notify is 'oncall': write a list of texts", ("notify",)),
        ({"notify": None}, "notify is empty: write a list of texts", ("notify",)),
        (
            {**DATASET, "objective": {"kind": "volume", "at_least": "many"}},
            "at_least is 'many': write a number",
            ("objective", "at_least"),
        ),
        (
            {"calendar": {"off": ["24.12."]}},
            "off is '24.12.': write a day, as 2026-12-24",
            ("calendar", "off", 0),
        ),
        (
            {"objective": {"kind": "consecutive_misses", "count": 2, "of": {"kind": "cots"}}},
            f"kind is 'cots': did you mean 'cost'? use one of {', '.join(OBJECTIVES)}",
            ("objective", "of", "kind"),
        ),
        (
            {
                "objective": {
                    "kind": "consecutive_misses",
                    "count": 2,
                    "of": {"kind": "duration", "at_most": "5m", "ovr": "try"},
                }
            },
            "unknown field 'ovr': did you mean 'over'? duration takes at_most, over, since",
            ("objective", "of", "ovr"),
        ),
        ({"colour": 1}, "unknown field 'colour': a promise takes id, target, ", ("colour",)),
    ],
)
def test_what_is_allowed_is_told_with_its_place(
    change: dict[str, Any], reason: str, path: tuple[str | int, ...]
) -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        from_plain({**PROMISE, **change})

    assert str(caught.value).startswith(reason)
    assert caught.value.path == path
    if not reason.endswith(" "):
        assert str(caught.value) == reason


def test_the_line_of_the_near_miss_is_told(tmp_path: Path) -> None:
    file = tmp_path / "promises.yaml"
    file.write_text(
        "promises:\n  - id: a\n    target: {dag: shop}\n    objective:\n"
        "      kind: duration\n      at_most: 5m\n      ovr: try\n"
    )

    _, (problem,) = read_files([file])

    assert str(problem) == (
        f"{file}:7: unknown field 'ovr': did you mean 'over'? duration takes at_most, over, since"
    )


@pytest.mark.parametrize(
    "name",
    ["dataset:file//data/a.csv", "file//data/a.csv", "file:///data/a.csv", "/data/a.csv"],
)
def test_a_dataset_may_be_named_as_our_answers_name_it(name: str) -> None:
    objective = {"kind": "end_to_end_latency", "source": name, "at_most": "1h"}
    made = from_plain({"id": "a", "target": {"dataset": name}, "objective": objective})

    assert made.target == Target(dataset="file//data/a.csv")
    assert isinstance(made.objective, EndToEndLatency)
    assert made.objective.source == "file//data/a.csv"


def test_a_dag_file_is_told_which_fields_a_promise_has() -> None:
    class Dag:
        dag_id = "shop"

    with pytest.raises(
        PolicyError, match=r"did you mean 'severity'\? it takes id, severity, owner"
    ):
        promise(Dag(), Duration(at_most="5m"), severty="page")  # type: ignore[arg-type]
