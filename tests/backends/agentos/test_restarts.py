"""An AgentOS that is restarted in an older version: no run is lost, and its features are detected again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Unsupported
from mcp_sessions.models import SessionFilter

from ...support.faked_agentos import COMPONENTS, SeenAgentOs, name_of, on, session, stored
from ...support.fakes.agentos import Request
from ...support.fakes.http import Response
from ...support.real_agentos import contents

IDS = {type: f"a {type}'s" for type in COMPONENTS}
SEEDS = tuple(session(id, type, name="old", state={"kept": 1}, metadata={"kept": 1}) for type, id in IDS.items())


class RestartedAgentOs(SeenAgentOs):
    """An AgentOS that another one replaces at the same address."""

    successor: SeenAgentOs | None = None
    successor_at_next_write: SeenAgentOs | None = None

    def _answer(self, request: Request) -> Response:
        if request.method != "GET":
            self.successor = self.successor or self.successor_at_next_write
        return self.successor._answer(request) if self.successor else super()._answer(request)


@asynccontextmanager
async def restarted(folder: Path, *, at_next_write: bool = False) -> AsyncGenerator[tuple[SeenAgentOs, SessionBackend]]:
    """Yield an AgentOS that is 2.5.6 after a backend has seen 3.1.10: at once, or from the next write on."""
    async with RestartedAgentOs("3.1.10") as newer, SeenAgentOs("2.5.6") as older:
        newer.seed(*SEEDS)
        older.seed(*SEEDS)
        async with on(newer, folder) as backend:
            assert len((await backend.list_sessions(SessionFilter())).sessions) == len(SEEDS)
            for id in IDS.values():
                await backend.get_session(id)
            newer.successor_at_next_write = older
            newer.successor = None if at_next_write else older
            yield older, backend


@pytest.mark.parametrize("at_next_write", [False, True], ids=("before the reading", "before the writing"))
@pytest.mark.parametrize("type", COMPONENTS)
async def test_a_change_right_after_a_restart_as_an_older_version_keeps_the_runs(
    type: str, at_next_write: bool, tmp_path: Path
) -> None:
    async with restarted(tmp_path, at_next_write=at_next_write) as (fake, backend):
        before = fake.everything()
        for expected, change in (
            ("new", lambda: backend.rename_session(IDS[type], "new")),
            ("new", lambda: backend.update_session_state(IDS[type], {"ours": 1})),
            ("new", lambda: backend.archive_session(IDS[type])),
            ("newer", lambda: backend.restore_session(IDS[type], name="newer")),
        ):
            assert (await change()).session_id == IDS[type]
            assert name_of(fake, IDS[type]) == expected
            assert contents(stored(fake, IDS[type])["runs"]) == contents(before[IDS[type]]["runs"])
        after = fake.everything()
        assert {id: row["session_type"] for id, row in after.items()} == {id: type for type, id in IDS.items()}
        assert {id: row for id, row in after.items() if id != IDS[type]} == {
            id: row for id, row in before.items() if id != IDS[type]
        }


async def test_the_version_is_detected_again_within_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with restarted(tmp_path) as (_, backend):
        later = SimpleNamespace(current_time=lambda: anyio.current_time() + 30)
        monkeypatch.setattr("mcp_sessions.backends.agentos.versions.anyio", later)
        listed = await backend.list_sessions(SessionFilter())
        assert {item.id: item.type for item in listed.sessions} == {id: type for type, id in IDS.items()}
        with pytest.raises(Unsupported, match=r"2\.7\.0"):
            await backend.fork_session(IDS["agent"])


async def test_the_version_is_requested_at_most_once_in_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SeenAgentOs() as fake, on(fake, tmp_path) as backend:
        fake.seed(*SEEDS)
        for seconds in (0, 29, 35, 60):
            later = SimpleNamespace(current_time=lambda seconds=seconds: anyio.current_time() + seconds)
            with monkeypatch.context() as moved:
                moved.setattr("mcp_sessions.backends.agentos.versions.anyio", later)
                for _ in range(3):
                    await backend.rename_session(IDS["team"], f"at {seconds}")
        assert len([request for request in fake.requests if request.path == "/info"]) == 2
