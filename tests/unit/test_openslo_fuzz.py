"""Whatever is wrong in documents is told: nothing is raised, and what is read can be written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provenance.sla.openslo import openslo_text, read_openslo
from tests.unit.test_openslo_read import MAIN_PAGE, SHOP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENTS = [
    json.loads(json.dumps(list(yaml.safe_load_all(text)), default=str))
    for text in (SHOP, MAIN_PAGE)
]
JUNK = st.sampled_from(
    [
        *(None, [], {}, "", 0, -1, True, 1e400, "null", [None], [[]], [{}], ["a"], {"a": 1}),
        *("1M", "999Y", "9999999Y", "2026-01-01", "x" * 300, "{", '{"dag": 1}', "[1]", '"x"'),
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in steps:
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data(), which=st.integers(0, 1))
def test_no_document_makes_it_fall_over(data: st.DataObject, which: int, tmp_path: Path) -> None:
    documents = json.loads(json.dumps(DOCUMENTS[which]))
    *path, last = data.draw(st.sampled_from(list(places(documents))))
    holder = documents
    for step in path:
        holder = holder[step]
    if data.draw(st.booleans()):
        holder[last] = data.draw(JUNK)
    else:
        del holder[last]
    file = tmp_path / "o.yaml"
    file.write_text(yaml.safe_dump_all(documents))

    found = read_openslo([file])

    assert all(one.line >= 1 and one.reason for one in (*found.problems, *found.notes))
    assert not (found.problems and found.declared)
    made = [one.policy for one in found.declared]
    if made:
        file.write_text(openslo_text(made))
        assert [one.policy for one in read_openslo([file]).declared] == made
