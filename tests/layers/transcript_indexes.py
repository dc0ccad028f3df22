"""A search index over the files of a folder, for tests."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import SearchPage

from ..support.claude_transcripts import Transcript

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@asynccontextmanager
async def open_index(folder: Path, url: str = "") -> AsyncGenerator[SessionBackend]:
    """Open an index on the sessions in a folder."""
    data = str(folder / "data")
    inner = open_backend(url) if url else open_backend(f"claude-code://{folder}", data_folder=data)
    async with Indexed(inner, IndexStore(folder / "cache" / "index.db"), source="tests") as backend:
        yield backend


def transcript_of(*texts: str, id: str = "") -> Transcript:
    """Return a transcript with the title "untitled" and a prompt for each text."""
    transcript = Transcript(id)
    transcript.title("untitled")  # else its name is the first prompt
    for number, text in enumerate(texts):
        transcript.prompt(text, NOW + timedelta(seconds=number))
    return transcript


def found(page: SearchPage) -> Sequence[tuple[str, str]]:
    """Return the session and snippet of each hit of a search that was complete."""
    assert (page.complete, page.note) == (True, "")
    return [(hit.session_id, hit.snippet) for hit in page.hits]
