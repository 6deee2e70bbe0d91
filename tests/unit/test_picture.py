"""The drawing of a trace: every node once, no box on another, and nothing that a name can break."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import pytest

from airflow_provenance.domain.identity import DagRunKey, DatasetRef, TaskRunKey
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.lineage.boxes import Note
from airflow_provenance.lineage.fold import fold
from airflow_provenance.lineage.layers import lay_out
from airflow_provenance.lineage.outcomes import failed_checks
from airflow_provenance.lineage.picture import draw, notes_of
from airflow_provenance.lineage.trace import Trace, trace
from airflow_provenance.store.base import Edge, RunView, VersionView
from airflow_provenance.store.memory import MemoryStore
from tests.unit.test_why import Shop, data, failed, passed

SVG = "{http://www.w3.org/2000/svg}"


def run(number: int, state: RunState = RunState.COMPLETE, task: str = "task") -> RunView:
    key = TaskRunKey("flights", "dag", "manual__1", f"{task}{number}", -1, 1)
    job = ("flights", key.job_name)
    return RunView(number, key, job, None, state, state, 0, 1_500_000, None, None, False)


def version(number: int, name: str | None = None, writer: int | None = 1) -> VersionView:
    status = VersionStatus.OBSERVED if writer is None else VersionStatus.GOOD
    ref = DatasetRef("file", name or f"/data/2013/file{number}.csv")
    return VersionView(number, ref, None, writer, "sha256:abcdef", status, True, 0, 0, True)


def graph(runs: int, width: int = 3) -> Trace:
    """Return a chain of runs, each reading `width` sources and what the run before it wrote."""
    trace = Trace("upstream", [], {}, {}, [])
    number, before = 1, None
    for _ in range(runs):
        made = number + 1
        trace.runs[number] = run(number)
        trace.versions[made] = version(made, writer=number)
        trace.edges.append(Edge(made, number, LinkRule.WROTE))
        for source in range(number + 2, number + 2 + width):
            trace.versions[source] = version(source, writer=None)
            trace.edges.append(Edge(number, source, LinkRule.OBSERVED, source))
        if before is not None:
            trace.edges.append(Edge(number, before, LinkRule.NAMED, before))
        before, number = made, number + 2 + width
    trace.roots = [before] if before else []
    return trace


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.encode())  # noqa: S314 - our own


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    root = parsed(svg)
    rects = (group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g"))
    return [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))  # type: ignore[misc]
        for rect in rects
        if rect is not None
    ]


@pytest.mark.parametrize(("runs", "width"), [(1, 1), (3, 3), (8, 4), (2, 19)])
def test_every_node_is_drawn_once_inside_the_page_and_on_no_other(runs: int, width: int) -> None:
    trace = graph(runs, width)
    svg = draw(trace, "A graph", most=100)

    drawn = boxes(svg)
    assert len(drawn) == len(trace.runs) + len(trace.versions)
    page = parsed(svg)
    for x, y, w, h in drawn:
        assert x >= 0
        assert y >= 40
        assert x + w <= float(page.attrib["width"])
        assert y + h <= float(page.attrib["height"]) - 40
    for one, other in combinations(drawn, 2):
        apart_x = one[0] + one[2] <= other[0] or other[0] + other[2] <= one[0]
        apart_y = one[1] + one[3] <= other[1] or other[1] + other[3] <= one[1]
        assert apart_x or apart_y, (one, other)


def test_a_large_graph_is_folded_to_what_is_nearest_and_says_how_much_is_left() -> None:
    trace = graph(20, 3)
    svg = draw(trace, "A graph", most=40)

    assert len(boxes(svg)) == 40
    assert "60 of them, farthest from what was asked about, are not drawn." in svg
    assert f"v{trace.roots[0]}: " in svg
    assert "run 1: " not in svg
    assert "run 1: " in draw(trace, "A graph", way=[1], most=40)


def test_the_same_graph_gives_the_same_bytes_whatever_order_its_edges_come_in() -> None:
    trace, again = graph(4), graph(4)
    again.edges.reverse()
    again.runs = dict(reversed(again.runs.items()))

    assert draw(trace, "A graph") == draw(again, "A graph")


def test_names_cannot_break_the_document_nor_bring_anything_in() -> None:
    trace = Trace("upstream", [2], {1: run(1, task="<script>&\x00\ud800")}, {}, [])
    trace.versions[2] = version(2, name="/data/<a href='http://x'>\"&]]>\x1b[31m.csv")
    trace.edges.append(Edge(2, 1, LinkRule.WROTE))

    svg = draw(trace, "<b>title</b>", notes={2: Note("<i>")})

    root = parsed(svg)
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        *("svg", "title", "desc", "style", "defs", "marker", "path", "rect", "text", "g", "tspan")
    }
    assert root.findtext(f"{SVG}title") == "<b>title</b>"
    assert re.findall(r"(?:href|src|url)\s*[=(]\s*[^#)]", svg.replace("&#x27;", "'")) == [
        "href='"  # in a name, as text
    ]


def test_it_can_be_read_without_seeing_it() -> None:
    root = parsed(draw(graph(1), "Upstream of a file"))

    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "title desc"
    assert "1 run and 4 dataset versions." in (root.findtext(f"{SVG}desc") or "")
    assert all(group.find(f"{SVG}title") is not None for group in root.iter(f"{SVG}g"))


@pytest.mark.parametrize("state", list(RunState))
def test_states_differ_by_sign_and_are_named(state: RunState) -> None:
    trace = Trace("upstream", [1], {1: run(1, state)}, {}, [])

    svg = draw(trace, "A run")

    assert state.name.lower().replace("_", " ") in svg
    (sign,) = re.findall(r"<tspan[^>]*>(.)</tspan>", svg)
    assert (sign == "✓") == (state == RunState.COMPLETE)


def test_a_dag_run_has_its_own_name() -> None:
    view = run(1)
    key = DagRunKey("flights", "the_dag", "manual__1")
    dag_run = RunView(1, key, ("flights", "the_dag"), *_rest(view))

    assert "the_dag" in draw(Trace("upstream", [1], {1: dag_run}, {}, []), "A run")


def _rest(view: RunView) -> tuple[object, ...]:
    return (None, view.state, view.state, 0, 1, None, None, False)


def test_layers_go_along_the_data_and_a_source_stands_beside_its_first_reader() -> None:
    edges = [(1, 2), (2, 3), (3, 4), (9, 4), (1, 4)]
    layout = lay_out([1, 2, 3, 4, 9], edges)

    column = {slot: number for number, slots in enumerate(layout.columns) for slot in slots}
    assert [column[one] for one in (1, 2, 3, 4, 9)] == [0, 1, 2, 3, 2]
    for way in layout.ways.values():
        assert [column[b] - column[a] for a, b in pairwise(way)] == [1] * (len(way) - 1)


def test_a_circle_does_not_hang_it() -> None:
    assert lay_out([1, 2], [(1, 2), (2, 1)]).ways


def test_a_mapped_task_is_one_box_that_names_all_it_stands_for() -> None:
    trace = Trace("upstream", [20], {}, {}, [])
    for index in range(3):
        key = TaskRunKey("flights", "dag", "manual__1", "fetch", index, 1)
        state = RunState.FAIL if index == 1 else RunState.COMPLETE
        view = RunView(index + 1, key, ("flights", "dag.fetch"), None, state, *_rest(run(1))[2:])
        trace.runs[index + 1] = view
        trace.versions[index + 11] = version(index + 11, writer=index + 1)
        trace.edges.append(Edge(index + 11, index + 1, LinkRule.WROTE))
        trace.edges.append(Edge(9, index + 11, LinkRule.NAMED, index + 1))
    trace.runs[9], trace.versions[20] = run(9), version(20, writer=9)
    trace.edges.append(Edge(20, 9, LinkRule.WROTE))

    folded = fold(MemoryStore(), trace)
    svg = draw(folded, "A graph", way=[13, 9, 20], notes={12: Note("two")})

    assert len(boxes(svg)) == 4
    assert "fetch, 3 mapped" in svg
    assert "and 2 more, good" in svg
    assert "4 runs and 4 dataset versions." in svg
    assert all(f"run {one}: dag.fetch[{one - 1}]" in svg for one in (1, 2, 3))
    # It stands for the worst; and a way or a note of any member is that of the box.
    assert folded.place[1] == 2
    assert svg.count('class="s"') == 2
    assert ">two<" in svg
    # What one of them wrote for another reader is no more alike.
    trace.edges.append(Edge(1, 13, LinkRule.NAMED, 5))
    assert len(fold(MemoryStore(), trace).trace.versions) == 3


@pytest.mark.parametrize(("runs", "width", "is_down"), [(8, 2, True), (1, 9, False)])
def test_it_goes_where_it_is_narrower(runs: int, width: int, is_down: bool) -> None:
    svg = draw(graph(runs, width), "A graph", most=100)

    assert ("from top to bottom" in svg) == is_down


def marked(svg: str) -> set[str]:
    """Return the names of the boxes that are marked as failing."""
    groups = (one for one in parsed(svg).iter(f"{SVG}g") if one.attrib.get("class") == "red")
    texts = ("".join(one.find(f"{SVG}text").itertext()) for one in groups)  # type: ignore[union-attr]
    return {text.removeprefix("! ") for text in texts}


def test_every_version_with_a_failed_check_is_marked_whoever_made_the_check() -> None:
    shop = Shop()
    told = [failed("not_null", 7, "who"), failed("is_known", 9, "what")]
    (first,), (second,) = (one["dataQualityAssertions"]["assertions"] for one in told)
    both = {"dataQualityAssertions": {"assertions": [first, second]}}
    shop.run("make", [data("a")], [data("between")])
    shop.run("sum", [data("between")], [data("out", **failed("has_sums", 2, "sum"))])
    shop.run("check", [data("between", **both), data("b", **passed("is_whole"))], [])
    answer = trace(shop.store, "dataset:shop/out", "upstream")

    notes = notes_of(failed_checks(shop.store, answer.versions))
    svg = draw(fold(shop.store, answer), "A graph", notes=notes)

    assert marked(svg) == {"between", "out"}
    assert "2 checks failed, up to 9 rows each" in svg
    assert "is_known of column what failed (error): 9 rows" in svg  # in its tip
    assert "has_sums: 2 rows" in svg


def test_a_check_that_could_not_be_made_is_not_told_as_rows_that_failed() -> None:
    shop = Shop()
    shop.run(
        "make", [data("a")], [data("out", **failed("unique", 0, params={"error": "no DuckDB"}))]
    )
    answer = trace(shop.store, "dataset:shop/out", "upstream")

    (note,) = notes_of(failed_checks(shop.store, answer.versions)).values()

    assert note.text == "unique could not be made"
    assert note.lines == ["unique could not be made (error): no DuckDB"]


def test_no_text_is_wider_than_its_box_or_the_page() -> None:
    trace = graph(2, 2)
    long = "a_rather_long_name_of_a_file_that_says_a_lot.parquet"
    trace.versions[trace.roots[0]] = version(trace.roots[0], name=f"/data/{long}", writer=4)
    notes = {trace.roots[0]: Note("a_check_with_quite_a_long_name: 123,456,789 rows")}

    svg = draw(
        trace, "Why " + "so many words " * 12, said="Drawn: " + "all of it, " * 30, notes=notes
    )

    page = parsed(svg)
    width = float(page.attrib["width"])
    for group in page.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None:
            for text in group.findall(f"{SVG}text"):
                letter = 6.5 if text.attrib["class"] == "n" else 5.0
                shown = "".join(text.itertext())
                assert 12 + len(shown) * letter <= float(rect.attrib["width"]), shown
    for text in page.findall(f"{SVG}text"):
        letter = 9 if text.attrib["class"] == "t" else 5.0
        shown = "".join(text.itertext())
        assert float(text.attrib["x"]) + len(shown) * letter <= width, shown
    assert svg.count('class="t"') > 1
    ys = [float(one.attrib["y"]) for one in page.iter(f"{SVG}text")]
    assert max(ys) < float(page.attrib["height"])


def test_it_has_the_colours_of_a_light_and_of_a_dark_page() -> None:
    light, _, dark = draw(graph(1), "A graph").partition("prefers-color-scheme:dark")

    for colour in ("grey", "green", "red", "amber", "blue"):
        told = [
            re.findall(rf"\.{colour} rect{{fill:(#\w+);stroke:(#\w+)}}", one)
            for one in (light, dark)
        ]
        assert all(len(one) == 1 for one in told)
        assert told[0] != told[1]
