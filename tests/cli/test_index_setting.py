"""The search index that settings give to backends without one."""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.cli.main import main
from mcp_sessions.config.build import build_backend, build_backends
from mcp_sessions.config.settings import Settings

from ..support.claude_transcripts import conversation
from ..support.fakes.agentos import FakeAgentOs


@pytest.mark.parametrize("is_on", [True, False])
def test_a_system_without_a_search_index_gets_one_unless_it_is_off(is_on: bool, tmp_path: Path) -> None:
    urls = (f"sqlite:///{tmp_path / 'store.db'}", "work=agentos+http://127.0.0.1:9")
    index = str(tmp_path / "index.db") if is_on else "off"
    backends = build_backends(Settings(backend=urls, overlay="off", index=index))
    assert {name: isinstance(backend, Indexed) for name, backend in backends.items()} == {"": False, "work": is_on}
    assert not (tmp_path / "index.db").exists()


async def test_what_each_credential_can_see_is_indexed_separately(tmp_path: Path) -> None:
    index = tmp_path / "index.db"
    async with FakeAgentOs() as fake:
        fake.seed({"name": "apple", "type": "agent", "component_id": "planner", "runs": []})
        for token in ("one", "two", "two"):
            given = Settings(backend=(f"agentos+{fake.url}",), token=token, overlay="off", index=str(index))
            async with build_backend(given) as backend:
                assert len((await backend.search_sessions("apple")).hits) == 1
    with closing(sqlite3.connect(index)) as connection:
        sources = [source for (source,) in connection.execute("SELECT source FROM sessions")]
    assert len(sources) == len(set(sources)) == 2
    assert not any("one" in source or "two" in source for source in sources)


def _main(tmp_path: Path, *arguments: str) -> int:
    environ = {"MCP_SESSIONS_INDEX": str(tmp_path / "index.db"), "MCP_SESSIONS_OVERLAY": "off"}
    return main(["index", *arguments], environ)


@pytest.mark.parametrize("options", [(), ("--rebuild",)])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_command_indexes_everything_and_shows_how_far_it_is(
    options: Sequence[str],
    is_terminal: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in (1, 2):
        conversation([], datetime.now(UTC), name="Fruit", number=number).write(tmp_path)
    urls = (f"claude=claude-code://{tmp_path}", f"store:ro=sqlite:///{tmp_path / 'store.db'}")
    arguments = [*options, *(text for url in urls for text in ("--backend", url))]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert _main(tmp_path, *arguments) == 0
    assert _main(tmp_path, *arguments) == 0
    out, err = capsys.readouterr()
    assert out == "claude: complete\nstore: has an index of its own\n" * 2
    assert ("[##############################] claude: 2 of 2 sessions\n" in err) == is_terminal
    assert not (tmp_path / "store.db").exists()


def test_an_index_that_is_being_updated_is_not_rebuilt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conversation([], datetime.now(UTC), name="Fruit", number=1).write(tmp_path)
    arguments = ("--backend", f"claude-code://{tmp_path}")
    assert _main(tmp_path, *arguments) == 0
    file = tmp_path / "index.db"
    inode = file.stat().st_ino
    with IndexStore(file).sync_lock("another backend") as is_held:
        assert is_held
        assert _main(tmp_path, *arguments, "--rebuild") == 1
    assert "another process is updating the index. Wait for it to finish" in capsys.readouterr().err
    assert file.stat().st_ino == inode
    assert _main(tmp_path, *arguments, "--rebuild") == 0


@pytest.mark.parametrize("offset", [0, 8192])
def test_a_damaged_index_is_made_anew_and_the_log_says_so(
    offset: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    conversation([], datetime.now(UTC), name="Fruit", number=1).write(tmp_path)
    arguments = ("--backend", f"claude-code://{tmp_path}")
    assert _main(tmp_path, *arguments) == 0
    with (tmp_path / "index.db").open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40_000)
    assert _main(tmp_path, *arguments) == 0
    assert capsys.readouterr().out == "Claude Code: complete\n" * 2
    assert caplog.messages == [f"The search index {tmp_path / 'index.db'} was damaged, so a new one was made."]


def test_the_command_says_what_it_could_not_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(tmp_path, "--backend", f"claude-code://{tmp_path / 'missing'}") == 1
    assert "can't be read" in capsys.readouterr().out
    assert _main(tmp_path, "--index", "off") == 2
    assert "--index can't be off" in capsys.readouterr().err
