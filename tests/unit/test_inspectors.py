"""What files mean by themselves: columns, rows, or one note that says why not."""

from __future__ import annotations

import csv
import io
import os
import random
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from airflow_provenance.capture import inspectors
from airflow_provenance.capture.digests import Digests
from airflow_provenance.capture.files import Deadline, inspect_files, read_footers
from airflow_provenance.capture.inspectors import Watched, csv_file, inspector_for
from airflow_provenance.capture.inspectors.csv_file import CsvInspector
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.emit.observed import MOST_COLUMNS, Column, Structure

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.emit.notes import Content

LATER_US = (1 << 48) * 1000


def look(path: Path, seconds: float = 60) -> Content:
    """What the listener sees of a file that a task read."""
    ref, deadline = DatasetRef("file", str(path)), Deadline(seconds)
    seen = inspect_files({ref: path}, "input", LATER_US, deadline)
    return read_footers({ref: path}, seen, deadline)[ref]


def structure(path: Path, content: bytes) -> Structure:
    path.write_bytes(content)
    seen = look(path)
    assert seen.digest
    assert seen.is_verified, seen.reason
    assert seen.structure is not None
    return seen.structure


def names(found: Structure) -> list[str]:
    return [column.name for column in found.columns]


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        (b"carrier,dest\nUA,IAH\nAA,MIA\n", ["carrier", "dest"], 2),
        (b"carrier,dest\nUA,IAH\nAA,MIA", ["carrier", "dest"], 2),
        (b"carrier,dest\r\nUA,IAH\r\n\r\nAA,MIA\r\n", ["carrier", "dest"], 2),
        (b"\xef\xbb\xbfcarrier;dest\nUA;IAH\n", ["carrier", "dest"], 1),
        (b"carrier\tdest\nUA\tIAH\n", ["carrier", "dest"], 1),
        (b'"a,b","c\nd"\n"x ""y""\n","z"\n', ["a,b", "c\nd"], 1),
        (b"name\nZ\xc3\xbcrich\n", ["name"], 1),
        (b"only,a,header", ["only", "a", "header"], 0),
        (b"a\n\n\n\n1\n\n2\n\n", ["a"], 2),
    ],
)
def test_csv_has_the_columns_of_its_header_and_its_records(
    text: bytes, columns: list[str], rows: int, tmp_path: Path
) -> None:
    found = structure(tmp_path / "x.csv", text)

    assert (found.format, names(found), found.rows, found.note) == ("csv", columns, rows, None)
    assert found.column_count == len(columns)
    assert {column.type for column in found.columns} == {None}


# A lone CR is left out: Python's writer does not quote it where lines end with LF.
_FIELDS = st.lists(st.sampled_from([*'ab", ü\n', "\r\n"]), max_size=6).map("".join)


@given(
    rows=st.lists(st.tuples(_FIELDS, _FIELDS), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    seed=st.integers(0, 1 << 16),
)
def test_records_are_counted_as_pythons_csv_does_wherever_chunks_end(
    rows: list[tuple[str, str]], quoting: int, end: str, seed: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([("first", "second"), *rows])

    counted = fed(text.getvalue(), random.Random(seed))

    assert counted.rows == len(list(csv.reader(io.StringIO(text.getvalue(), newline="")))) - 1
    assert names(counted) == ["first", "second"]


def fed(text: str, cut: random.Random, most: int = 5) -> Structure:
    """Return what an inspector says of a text that comes in small chunks."""
    raw, inspector = text.encode(), Watched(CsvInspector(), 60)
    at = 0
    with pytest.MonkeyPatch.context() as patch:
        # Small, so that lines are cut as very long ones are.
        patch.setattr(csv_file, "_MOST_HELD_BYTES", cut.choice((0, 3, 1 << 16)))
        while at < len(raw):
            # The first chunk of a file is never a few bytes, so its encoding can be told.
            size = cut.randint(1, most) if at else 13
            inspector.feed(raw[at : at + size])
            at += size
    return inspector.finish()


_QUOTES = ("quotes stand inside fields", "a quote is not closed")


@settings(max_examples=1000)
@given(
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    pieces=st.lists(
        st.sampled_from(
            [
                *('a "' * 2),
                "b",
                *",;\n\r",
                '""',
                '"a"',
                ',"a"',
                '"\n"',
                '"\r\n',
                "\r\n",
                "\n\n",
                "ü",
            ]
        ),
        max_size=40,
    ),
    seeds=st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16)),
)
def test_of_any_text_records_are_counted_as_pythons_csv_does_or_not_at_all(
    delimiter: str, pieces: list[str], seeds: tuple[int, int]
) -> None:
    text = f"first{delimiter}second\n" + "".join(pieces).replace(",", delimiter)

    counted = fed(text, random.Random(seeds[0]))

    assert counted == fed(text, random.Random(seeds[1]), most=30)
    read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    if counted.note is None:
        assert counted.rows == sum(1 for row in read if row) - 1
    else:
        assert counted.note.startswith(_QUOTES)
        assert '"' in text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "row",
    [
        '1,"UA",two',
        '"1","","a ""name"", quoted"',
        '1,"a\n\nb",""',
        '"a,","b;",c',
        '"",,',
        ",,",
        "1,2,3",
    ],
)
def test_records_of_a_file_of_many_chunks_are_counted(row: str, end: str) -> None:
    lines = ["a,b,c\n", *[row + end] * 20_000, end, '"last","one","open?"', end * 3]

    counted = fed("".join(lines), random.Random(1), most=1 << 16)

    assert (counted.rows, counted.note) == (20_001, None)


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("x.csv", b"", "empty: no header"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("x.csv", b"a,b\n\x00\x01\x02\n", "not text"),
        ("x.csv", "name\nZürich\n".encode("latin-1"), "not UTF-8"),
        ("x.csv", b"\x1f\x8b\x08\xff\xfe", "not UTF-8"),
        ("x.csv", b"a,b\r1,2\r3,4\n", "header does not end|CR alone"),
        ("x.csv", b'a,b\n5" disk,2\n', "quotes stand inside fields"),
        ("x.csv", b'a,b\n"open,2\n', "not closed"),
        ("x.jsonl", b"", "empty: no lines"),
        ("x.jsonl", b'{"a": 1}\nnot json\n', "line 2 is not JSON"),
        ("x.jsonl", b"[1, 2]\n", "line 1 is no JSON object"),
        ("x.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("x.parquet", b"", "no footer"),
        ("x.parquet", b"PAR1 and then no Parquet", "no footer"),
        ("x.pq", b"a,b\n1,2\n", "no footer"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_has_a_digest_and_one_note(
    name: str, content: bytes, note: str, tmp_path: Path
) -> None:
    found = structure(tmp_path / name, content)

    assert found.columns == ()
    assert found.note
    assert any(one in found.note for one in note.split("|")), found.note


def test_json_lines_have_the_members_of_the_first_lines(tmp_path: Path) -> None:
    lines = b'{"carrier": "UA"}\n\n{"dest": "IAH", "carrier": null}\n' + b'{"late": 1}\n' * 5_000

    found = structure(tmp_path / "x.ndjson", lines)

    assert (found.format, found.rows, found.note) == ("jsonl", 5_002, None)
    assert names(found) == ["carrier", "dest", "late"]


def test_json_lines_of_a_wide_file_are_cut_at_a_line(tmp_path: Path) -> None:
    found = structure(tmp_path / "x.jsonl", b'{"a": "' + b"x" * 3_000_000 + b'"}\n{"b": 1}')

    assert (found.rows, names(found)) == (2, ["a", "b"])


def test_parquet_has_types_and_rows_from_its_footer(tmp_path: Path) -> None:
    for name in ("x.parquet", "by its first bytes"):
        path = tmp_path / name
        pl.DataFrame({"carrier": ["UA", "AA"], "flights": [1, 2]}).write_parquet(path)

        found = look(path).structure

        assert found is not None
        assert (found.format, found.rows, found.note) == ("parquet", 2, None)
        assert found.columns == (Column("carrier", "large_string"), Column("flights", "int64"))


def test_without_pyarrow_parquet_is_bytes_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert "pyarrow is not installed" in str(structure(tmp_path / "x.parquet", b"PAR1").note)


def test_any_other_file_is_bytes(tmp_path: Path) -> None:
    for name in ("x.bin", "x.csv.gz", "x.txt", "noname"):
        path = tmp_path / name
        path.write_bytes(b"a,b\n1,2\n")
        assert look(path).digest
        assert look(path).structure is None


def test_of_ten_thousand_columns_the_first_are_in_the_schema(tmp_path: Path) -> None:
    header = ",".join(f"column_{number:05}" for number in range(10_000))

    found = structure(tmp_path / "x.csv", f"{header}\n{',' * 9_999}\n".encode())

    assert (len(found.columns), found.column_count, found.rows) == (MOST_COLUMNS, 10_000, 1)
    assert found.note == "the schema has the first 1000 of 10000 columns"


@pytest.mark.parametrize("name", ["sparse.bin", "sparse.csv", "sparse.jsonl"])
def test_a_file_of_a_gigabyte_is_hashed_or_says_that_the_time_was_up(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.touch()
    os.truncate(path, 1 << 30)

    content = look(path, seconds=0.3)

    assert content.digest or "hash_timeout_seconds" in (content.reason or "")


def test_counting_that_takes_too_long_ends_before_hashing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(1_000))
    monkeypatch.setattr(inspectors.time, "perf_counter", lambda: next(now))
    watched = Watched(CsvInspector(), budget_seconds=1.5)

    for _ in range(3):
        watched.feed(b"a,b\n")

    assert "took too much of [provenance] hash_timeout_seconds" in str(watched.finish().note)
    assert next(now) == 4  # the third chunk was not looked at


def test_an_inspector_that_fails_is_a_note() -> None:
    class Broken(CsvInspector):
        def feed(self, chunk: bytes) -> None:
            raise ZeroDivisionError(len(chunk))

    watched = Watched(Broken(), 1)
    watched.feed(b"a")

    assert watched.finish() == Structure("csv", note="not readable as csv: ZeroDivisionError")


def test_no_file_is_hashed_twice_by_one_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "x.csv", Digests()
    path.write_bytes(b"a\n1\n")
    read: list[int] = []
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: (read.append(fd), real(fd, size))[1])

    def again() -> str | None:
        refs = {DatasetRef(host, str(path)): path for host in ("file", "file://localhost")}
        seen = inspect_files(refs, "input", LATER_US, Deadline(60), memory)
        (digest,) = {one.digest for one in seen.values()}
        return digest

    first = again()
    assert first
    assert len(read) == 2  # the content and its end
    assert again() == first
    assert len(read) == 2
    path.write_bytes(b"a\n2\n")
    os.utime(path, (1, 1))
    assert again() != first


def test_the_inspector_is_chosen_by_name(tmp_path: Path) -> None:
    assert inspector_for(tmp_path / "x.TSV")
    assert inspector_for(tmp_path / "csv") is None
