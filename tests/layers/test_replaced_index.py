"""A search whose index is deleted, replaced or made anew while the search updates it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.layers.index.transcript_indexer import TranscriptIndexer
from mcp_sessions.backends.registry import open_backend

from .transcript_indexes import NOW, found, transcript_of


@pytest.mark.parametrize("how", ["made anew", "deleted", "replaced"])
async def test_all_messages_are_found_though_the_index_is_replaced_before_an_update_is_written(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cache" / "index.db"
    store = IndexStore(file)

    def indexed(store: IndexStore) -> Indexed:
        inner = open_backend(f"claude-code://{tmp_path}", data_folder=str(tmp_path / "data"))
        return Indexed(inner, store, source="tests")

    transcript = transcript_of("apple one", "apple two")
    transcript_of("apple three").write(tmp_path)
    transcript.write(tmp_path)
    pending = [how]
    original = TranscriptIndexer._known  # pyright: ignore[reportPrivateUsage]

    async def replacing(self: TranscriptIndexer, ids: Sequence[str]) -> Mapping[str, Mapping[str, tuple[bytes, int]]]:
        known = await original(self, ids)
        if not pending:
            return known
        if pending.pop() == "made anew":
            await store.rebuild()
            return known
        file.unlink()
        if how == "replaced":
            async with indexed(IndexStore(file)) as other:
                await other.search_sessions("nothing")
        return known

    async with indexed(store) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 3
        transcript.prompt("apple four", NOW + timedelta(hours=1))
        transcript.write(tmp_path)
        monkeypatch.setattr(TranscriptIndexer, "_known", replacing)
        assert len(found(await backend.search_sessions("apple"))) == 4
        assert not pending
        assert len(found(await backend.search_sessions("apple"))) == 4
    async with indexed(IndexStore(file)) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 4


async def test_an_index_that_is_replaced_again_and_again_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cache" / "index.db"
    transcript_of("apple").write(tmp_path)
    inner = open_backend(f"claude-code://{tmp_path}", data_folder=str(tmp_path / "data"))
    original = TranscriptIndexer.update

    async def replaced(self: TranscriptIndexer, stops_at: float) -> object:
        file.unlink()
        return await original(self, stops_at)

    monkeypatch.setattr(TranscriptIndexer, "update", replaced)
    async with Indexed(inner, IndexStore(file), source="tests") as backend:
        page = await backend.search_sessions("apple")
    assert len(page.hits) == 1
    assert page.note.startswith("The search index can't be used, so the sessions themselves were read: the index was")
