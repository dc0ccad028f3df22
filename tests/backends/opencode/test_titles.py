"""A new name lasts, although opencode's automatic title replaces it once."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend

from ...contract.harness import Seed
from ...support.faked_opencode import faked
from ...support.fakes.opencode import FakeOpencode


async def next_change(fake: FakeOpencode) -> None:
    """Wait until a request has changed something."""
    with anyio.fail_after(5):
        await fake.changed.wait()


async def test_a_name_given_in_the_first_turn_is_written_again_after_the_automatic_title() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        change = await backend.rename_session(session_id, "Trip to Rome")
        assert "automatic title" in change.note
        fake.changed.clear()
        fake.store.sessions[session_id]["title"] = "Automatic"
        await next_change(fake)
        assert (await backend.get_session(session_id)).name == "Trip to Rome"


async def test_the_name_of_a_session_that_had_one_is_not_watched() -> None:
    async with faked(Seed(name="Trip")) as (_, backend, (session_id,)):
        assert (await backend.rename_session(session_id, "Trip to Rome")).note == ""


async def rename(backend: SessionBackend, session_id: str, name: str) -> None:
    assert (await backend.rename_session(session_id, name)).note == ""


async def restore(backend: SessionBackend, session_id: str, name: str) -> None:
    await backend.restore_session(session_id, name=name)


@pytest.mark.parametrize("name_again", [rename, restore])
async def test_a_later_name_is_not_replaced_by_the_watched_one(
    name_again: Callable[[SessionBackend, str, str], Awaitable[None]],
) -> None:
    async with faked(Seed(), Seed()) as (fake, backend, (renamed, other)):
        await backend.rename_session(renamed, "First")
        await name_again(backend, renamed, "Second")
        await backend.rename_session(other, "Other")
        fake.changed.clear()
        fake.store.sessions[other]["title"] = "Automatic"
        await next_change(fake)  # by then, a watch of the first session would have looked at it
        assert (await backend.get_session(renamed)).name == "Second"


async def test_a_session_whose_name_is_watched_can_be_deleted() -> None:
    async with faked(Seed(), Seed()) as (fake, backend, (deleted, other)):
        await backend.rename_session(other, "Other")
        await backend.rename_session(deleted, "Trip")
        await backend.delete_session(deleted)
        fake.changed.clear()
        fake.store.sessions[other]["title"] = "Automatic"
        await next_change(fake)
        assert [*fake.store.sessions] == [other]


async def test_a_cleared_name_is_the_default_title_which_opencode_may_replace() -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        change = await backend.rename_session(session_id, "")
        assert (change.changed, change.note) == ({"name": ""}, "")
        assert fake.store.sessions[session_id]["title"].startswith("New session - 20")
