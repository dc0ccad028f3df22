"""A new name lasts, although opencode's automatic title replaces it once. No other name is replaced."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend

from ...contract.harness import Seed
from ...contract.samples import exchanges, moment
from ...support.faked_opencode import backend_on, faked, said
from ...support.fakes.opencode import FakeOpencode

IN_FIRST_TURN = Seed(runs=said("Hello"))


async def next_change(fake: FakeOpencode) -> None:
    """Wait until a request has changed something."""
    with anyio.fail_after(5):
        await fake.changed.wait()


async def give_automatic_title(fake: FakeOpencode, session_id: str, title: str = "Automatic") -> None:
    """Replace a title as opencode does, and wait until a watch has written another one."""
    fake.changed.clear()
    fake.store.sessions[session_id]["title"] = title
    await next_change(fake)


async def test_a_name_given_in_the_first_turn_is_written_again_after_the_automatic_title() -> None:
    async with faked(IN_FIRST_TURN) as (fake, backend, (session_id,)):
        change = await backend.rename_session(session_id, "Trip to Rome")
        assert "automatic title" in change.note
        await give_automatic_title(fake, session_id)
        assert (await backend.get_session(session_id)).name == "Trip to Rome"


@pytest.mark.parametrize(
    "seed",
    [Seed(name="Trip", runs=said("Hello")), Seed(), Seed(runs=exchanges(1), moment=moment(0))],
    ids=["named", "no turn", "a turn in the past"],
)
async def test_a_name_is_not_watched_if_no_automatic_title_is_due(seed: Seed) -> None:
    async with faked(seed) as (_, backend, (session_id,)):
        assert (await backend.rename_session(session_id, "Trip to Rome")).note == ""


async def test_a_name_given_shortly_after_the_first_turn_is_watched() -> None:
    """The automatic title may take longer than the turn."""
    async with faked(Seed(runs=exchanges(1))) as (_, backend, (session_id,)):
        assert "automatic title" in (await backend.rename_session(session_id, "Trip to Rome")).note


async def rename(backend: SessionBackend, session_id: str, name: str) -> str:
    return (await backend.rename_session(session_id, name)).note


async def restore(backend: SessionBackend, session_id: str, name: str) -> str:
    return (await backend.restore_session(session_id, name=name)).note


@pytest.mark.parametrize("name_again", [rename, restore])
async def test_the_latest_of_several_names_is_written_again(
    name_again: Callable[[SessionBackend, str, str], Awaitable[str]], tmp_path: Path
) -> None:
    """The second name comes from another process."""
    async with (
        faked(IN_FIRST_TURN, folder=str(tmp_path)) as (fake, backend, (session_id,)),
        backend_on(fake, folder=str(tmp_path)) as other,
    ):
        await backend.rename_session(session_id, "First")
        assert "automatic title" in await name_again(other, session_id, "Second")
        await give_automatic_title(fake, session_id)
        assert (await backend.get_session(session_id)).name == "Second"


async def test_a_name_that_another_process_gives_is_not_undone(tmp_path: Path) -> None:
    async with faked(IN_FIRST_TURN, IN_FIRST_TURN, folder=str(tmp_path)) as (fake, backend, (renamed, other)):
        await backend.rename_session(renamed, "First")
        async with backend_on(fake, folder=str(tmp_path)) as process:
            await process.rename_session(renamed, "Second")  # and this process ends before it has looked at the name
        await backend.rename_session(other, "Other")
        await give_automatic_title(fake, other)  # by then, the watch of the first session would have looked at it
        assert (await backend.get_session(renamed)).name == "Second"


@pytest.mark.parametrize(
    "title", ["New session - 2026-11-28T21:41:22.210Z", "Rome " + "🚀" * 48], ids=["default", "long"]
)
async def test_a_title_that_is_not_an_automatic_one_is_not_undone(title: str) -> None:
    async with faked(IN_FIRST_TURN, IN_FIRST_TURN) as (fake, backend, (renamed, other)):
        await backend.rename_session(renamed, "Trip")
        fake.store.sessions[renamed]["title"] = title
        await backend.rename_session(other, "Other")
        await give_automatic_title(fake, other)
        assert fake.store.sessions[renamed]["title"] == title


async def test_a_session_whose_name_is_watched_can_be_deleted() -> None:
    async with faked(IN_FIRST_TURN, IN_FIRST_TURN) as (fake, backend, (deleted, other)):
        await backend.rename_session(other, "Other")
        await backend.rename_session(deleted, "Trip")
        await backend.delete_session(deleted)
        await give_automatic_title(fake, other)
        assert [*fake.store.sessions] == [other]


async def test_names_are_watched_also_where_no_file_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "watched").write_text("", encoding="utf-8")
    async with faked(IN_FIRST_TURN, folder=str(tmp_path)) as (fake, backend, (session_id,)):
        await backend.rename_session(session_id, "Trip")
        await give_automatic_title(fake, session_id)
        assert (await backend.get_session(session_id)).name == "Trip"


async def test_a_cleared_name_is_the_default_title_which_opencode_may_replace() -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        change = await backend.rename_session(session_id, "")
        assert (change.changed, change.note) == ({"name": ""}, "")
        assert fake.store.sessions[session_id]["title"].startswith("New session - 20")
