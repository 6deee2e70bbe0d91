"""How a line of the spool looks, and how damage is told."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.errors import EventError
from airflow_provenance.formats.spool_line import decode_line, encode_line

payloads = st.binary(max_size=200).filter(lambda payload: b"\n" not in payload)


@given(payloads, st.sampled_from(["E", "N"]))
def test_a_line_reads_back_as_it_was_written(payload: bytes, kind: str) -> None:
    line = encode_line(kind, payload)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == (kind, payload)


@given(payloads.filter(len), st.data())
def test_a_line_that_was_cut_short_is_torn(payload: bytes, data: st.DataObject) -> None:
    line = encode_line("E", payload)[:-1]
    cut = data.draw(st.integers(0, len(line) - 1))

    with pytest.raises(EventError) as caught:
        decode_line(line[:cut])

    assert caught.value.reason == "torn_line"


@given(payloads.filter(len), st.data())
def test_a_line_with_altered_bytes_is_told_by_its_checksum(
    payload: bytes, data: st.DataObject
) -> None:
    line = bytearray(encode_line("E", payload)[:-1])
    place = data.draw(st.integers(len(line) - len(payload), len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(EventError) as caught:
        decode_line(bytes(line))

    assert caught.value.reason == "bad_checksum"


def test_an_event_that_became_a_note_is_told_by_its_checksum() -> None:
    line = encode_line("E", b"{}").replace(b" E ", b" N ")[:-1]

    with pytest.raises(EventError, match="altered"):
        decode_line(line)


def test_a_payload_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_line("E", b"{\n}")
