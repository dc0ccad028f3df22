"""Files that Codex has compressed: `.jsonl.zst`."""

import sys
from pathlib import Path

import pytest

from mcp_sessions.errors import BadResponse, Unsupported
from mcp_sessions.models import SessionFilter

from ...support.codex_rollouts import record
from .homes import copy_fixtures, file_of, labelled, names_in, note_of, opened, rollout, session_of, texts_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def compress(path: Path, *, keep: bool = False) -> Path:
    """Compress a file as Codex does."""
    compressed = path.with_name(f"{path.name}.zst")
    compressed.write_bytes(zstd.compress(path.read_bytes()))
    if not keep:
        path.unlink()
    return compressed


def without_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the modules that decompress."""
    monkeypatch.delitem(sys.modules, "mcp_sessions.backends.codex.decompression", raising=False)
    for name in ("backports.zstd", "compression.zstd", "backports", "compression"):
        monkeypatch.setitem(sys.modules, name, None)


async def test_compressed_files_are_read_as_the_others_also_as_the_base_of_forks(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    labels = ("paginated", "fork_of_fork", "legacy_named", "reverted", "archived")
    async with opened(home) as backend:
        before = {label: await backend.export_session(labelled(label)) for label in labels}
    for path in sorted(home.rglob("rollout-*.jsonl")):
        compress(path)
    for exported in before.values():
        exported["session"] |= {"version": "", "archived_at": None}
    async with opened(home) as backend:
        for label in labels:
            exported = await backend.export_session(labelled(label))
            exported["session"] |= {"version": "", "archived_at": None}
            assert exported == before[label]


async def test_of_a_plain_and_a_compressed_file_of_one_thread_the_plain_one_counts(tmp_path: Path) -> None:
    made = rollout("before")
    path = made.write(tmp_path)
    compress(path, keep=True)
    made.turn("after", "reply", made.created_at)
    made.write(tmp_path)
    assert await names_in(tmp_path) == ["before"]
    assert await texts_of(tmp_path, made.id) == ["before", "answer", "after", "reply"]


async def test_without_a_decoder_a_compressed_thread_is_listed_and_its_history_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, plain = rollout("compressed"), rollout("plain")
    plain.write(tmp_path)
    path = made.write(tmp_path)
    record(tmp_path, made, path, name="Compressed", tokens_used=7)
    compress(path)
    without_decoder(monkeypatch)
    assert sorted(await names_in(tmp_path)) == ["Compressed", "plain"]
    session = await session_of(tmp_path, made.id)
    assert (session.created_at, session.total_tokens, session.message_count) == (made.created_at, 7, None)
    assert "Install mcp-sessions[zstd]" in session.note
    async with opened(tmp_path) as backend:
        with pytest.raises(Unsupported, match=r"Install mcp-sessions\[zstd\]"):
            await backend.get_session_history(made.id)
        found = await backend.search_sessions("answer")
        assert ([hit.session_id for hit in found.hits], found.complete) == ([plain.id], False)


async def test_a_base_that_can_not_be_decompressed_is_said_in_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_fixtures(tmp_path)
    base = compress(file_of(home, labelled("paginated")))
    compressed = base.read_bytes()
    base.write_bytes(compressed[:100])
    assert "is gone or damaged" in await note_of(home, labelled("paginated_fork"))
    base.write_bytes(compressed)
    assert await note_of(home, labelled("paginated_fork")) == ""
    monkeypatch.setattr("mcp_sessions.backends.codex.decompression._MOST_BYTES", 10_000)
    assert "is gone or damaged" in await note_of(home, labelled("paginated_fork"))
    without_decoder(monkeypatch)
    note = await note_of(home, labelled("paginated_fork"))
    assert note.startswith("The beginning of this conversation is in a compressed file.")
    assert "gone" not in note


@pytest.mark.parametrize("cut", [0, 10, 100])
async def test_a_damaged_compressed_file_is_left_out_and_refused_by_id(tmp_path: Path, cut: int) -> None:
    good, bad = rollout("good"), rollout("bad")
    good.write(tmp_path)
    compressed = compress(bad.write(tmp_path))
    compressed.write_bytes(compressed.read_bytes()[:cut])
    async with opened(tmp_path) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert [session.name for session in page.sessions] == ["good"]
        with pytest.raises(BadResponse):
            await backend.get_session_history(bad.id)


async def test_a_thread_of_a_home_has_the_file_that_was_moved_by_hand(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    compressed = compress(file_of(home, labelled("injected")))
    compressed.rename(home / "archived_sessions" / compressed.name)
    assert (await session_of(home, labelled("injected"))).archived_at is not None
