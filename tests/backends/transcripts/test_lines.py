"""Lines are read from both ends alike, whatever bytes they contain and however long they are."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.transcripts import lines
from mcp_sessions.backends.transcripts.lines import Line, open_transcript, parse
from mcp_sessions.errors import NotFound, Timeout, Unavailable

SOON = 60


def read(path: Path) -> tuple[list[Line], list[Line]]:
    """Return the lines read forwards and those read backwards, both in the order of the file."""
    with open_transcript(path, time.monotonic() + SOON) as file:
        return list(file.forward()), list(file.backward())[::-1]


def lines_of(data: bytes) -> list[Line]:
    found: list[Line] = []
    offset = 0
    for part in data.split(b"\n"):
        found += [Line(offset, part)] if part else []
        offset += len(part) + 1
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from([b"", b"{}", b"\n", b"\n\n", b"\r\n", b"\xe2\x80\xa8", b"\0", b"x" * 7]), max_size=30
    )
)
@pytest.mark.parametrize("chunk", [1, 5, 64 * 1024])
def test_lines_end_with_a_newline_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[bytes], chunk: int
) -> None:
    monkeypatch.setattr(lines, "_CHUNK", chunk)
    path = tmp_path / "file"
    path.write_bytes(b"".join(parts))
    expected = lines_of(b"".join(parts))
    assert read(path) == (expected, expected)
    with open_transcript(path, time.monotonic() + SOON) as file:
        sought = [line for line in file.forward(containing=[b"xx", b"}"]) if b"xx" in line.data or b"}" in line.data]
        assert sought == [line for line in expected if b"xx" in line.data or b"}" in line.data]
        kept = list(file.backward(ignored=lambda line: b"x" in line))[::-1]
        assert kept == [line for line in expected if b"x" not in line.data]
        for place, line in enumerate(expected):
            assert file.line_at(line.offset) == line
            assert list(file.backward(line.offset))[::-1] == expected[:place]
            assert list(file.forward(line.offset)) == expected[place:]
            assert len(line.data) == 1 or file.line_at(line.offset + 1) is None


def test_lines_longer_than_a_chunk_are_whole_and_absurd_ones_are_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    long = b"y" * 300_000
    path.write_bytes(b"first\n" + long + b"\n")
    with path.open("ab") as file:
        file.truncate(file.tell() + 65 * 1024 * 1024)  # zeros, as after a loss of power
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    for reads_backward in (False, True):
        with open_transcript(path, time.monotonic() + SOON) as transcript:
            found = list(transcript.backward())[::-1] if reads_backward else list(transcript.forward())
            assert [line.data for line in found] == [b"first", long, b"last"]
            assert transcript.oversized_lines == 1


def test_what_is_appended_after_opening_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\n")
    with open_transcript(path, time.monotonic() + SOON) as file:
        with path.open("ab") as writer:
            writer.write(b"two\n")
        assert [line.data for line in file.forward()] == [line.data for line in file.backward()] == [b"one"]


def test_a_file_that_was_cut_meanwhile_ends_earlier(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    with open_transcript(path, time.monotonic() + SOON) as file:
        os.truncate(path, 4)
        assert [line.data for line in file.forward()] == [b"one"]
        assert b"one" in [line.data for line in file.backward()]


def test_reading_ends_at_its_deadline(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\n")
    with open_transcript(path, time.monotonic() - 1) as file, pytest.raises(Timeout):
        list(file.forward())


def test_what_is_no_file_is_not_found_and_what_can_not_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, error in (("none", NotFound), ("folder", NotFound), ("pipe", NotFound), ("loop", Unavailable)):
        with pytest.raises(error), open_transcript(tmp_path / name, time.monotonic() + SOON):
            pass


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        (b"{", None),
        (b"[]", None),
        (b"", None),
        (b"\0" * 10, None),
        (b'{"a":' * 100_000, None),
        (b'{"a":' + b"9" * 5000 + b"}", None),
        (b"\xff\xfe{\0}\0", None),
    ],
)
def test_a_line_is_an_object_or_nothing(data: bytes, value: object) -> None:
    assert parse(data) == value
