"""The rechecker keeps the changes of others, and writes only overwritten values again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Invalid, OutcomeUnknown
from mcp_sessions.json_documents import JsonObject

from ...support.faked_agentos import (
    MINUTE,
    SEEDS,
    Clock,
    SeenAgentOs,
    faked,
    name_of,
    on,
    on_each_fake,
    run_of,
    session,
    settled,
    state_of,
    stored,
    writes,
)
from ...support.fakes.agentos import Fault, Request, Version
from ...support.fakes.http import Response

DAY = 24 * 60 * MINUTE


async def renamed_by_a_person(fake: SeenAgentOs, folder: Path, name: str) -> None:
    """Change the session in AgentOS directly, so that our journal doesn't know of it."""
    async with on(fake, folder / "a person's") as person:
        await person.rename_session("s", name)


@pytest.mark.parametrize("given", [{"user_id": "ben"}, {"created_at": 1_700_000_000}], ids=("another user", "later"))
@pytest.mark.parametrize("is_changed", [False, True], ids=("as it was", "changed by us"))
@on_each_fake
async def test_a_new_session_with_the_same_id_gets_no_values_of_the_old_one(
    version: Version, is_changed: bool, given: JsonObject, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "ours")
        await backend.update_session_state("s", {"secret": 1})
        async with on(fake, tmp_path / "another") as other:
            await other.delete_session("s")
        fake.seed(session("s", name="old", state={"kept": 1}, **given))
        assert (await backend.get_session("s")).note == ""
        if is_changed:
            await backend.update_session("s", metadata={"of": "the new one"})
        await settled(fake, clock, backend)
        assert (name_of(fake, "s"), state_of(fake, "s")) == ("old", {"kept": 1})


@on_each_fake
async def test_a_value_that_was_undone_is_not_written_again_even_without_a_response(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        for _ in range(2):  # it is sent again where a connection that was open before is gone
            fake.fail_next(Fault("drop", after=True, method="POST", path="/rename"))
        fake.requests.clear()
        fake.goes_blind = True  # for our reading back too
        with pytest.raises(OutcomeUnknown):
            await backend.rename_session("s", "old")
        fake.goes_blind = False
        assert name_of(fake, "s") == "old"
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


@on_each_fake
async def test_a_refused_change_keeps_earlier_pending_writes(version: Version, tmp_path: Path, clock: Clock) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.rename_session("s", "new")
            fake.fail_next(Fault("answer", status=422, method="POST", path="/rename"))
            with pytest.raises(Invalid):
                await backend.rename_session("s", "newest")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "new"


@pytest.mark.usefixtures("impatient_journal")
async def test_a_refused_change_keeps_earlier_pending_writes_even_if_the_journal_is_locked(
    tmp_path: Path, clock: Clock
) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.rename_session("s", "new")
            fake.fail_next(Fault("answer", status=422, method="POST", path="/rename"))
            with closing(sqlite3.connect(tmp_path / "agentos.db", isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT * FROM held").fetchall()
                with pytest.raises(Invalid):
                    await backend.rename_session("s", "newest")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "new"


@pytest.mark.parametrize(("minutes", "name"), [(2, "new"), (11, "old")], ids=("in its time", "after its time"))
async def test_a_failed_check_is_repeated_only_while_its_change_is_pending(
    minutes: int, name: str, tmp_path: Path, clock: Clock
) -> None:
    async with faked("3.1.10", tmp_path / "another", *SEEDS) as (fake, _):
        async with on(fake, tmp_path) as backend, run_of(fake):
            await backend.rename_session("s", "new")
        clock.now += minutes * MINUTE
        failing = fake.fail_next(Fault("answer", status=403, method="GET", path="/sessions/s"))
        async with on(fake, tmp_path) as backend:
            await settled(fake, clock, backend)
            assert failing not in fake.faults
            await settled(fake, clock, backend)
            assert name_of(fake, "s") == name


@on_each_fake
async def test_an_old_value_set_again_by_a_person_is_overwritten_once(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        names = list[object]()
        for _ in range(3):
            await renamed_by_a_person(fake, tmp_path, "old")
            await settled(fake, clock, backend)
            names.append(name_of(fake, "s"))
        assert names == ["new", "old", "old"]


@on_each_fake
async def test_an_old_value_set_by_a_person_after_the_pending_time_is_kept(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path / "another", *SEEDS) as (fake, _):
        async with on(fake, tmp_path) as backend:
            await backend.rename_session("s", "new")
        clock.now += 11 * MINUTE
        await renamed_by_a_person(fake, tmp_path, "old")
        async with on(fake, tmp_path) as backend:
            await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


@pytest.mark.parametrize("is_overruled_before", [False, True], ids=("at first", "once more"))
@on_each_fake
async def test_a_later_change_of_another_field_does_not_overwrite_a_persons_value(
    version: Version, is_overruled_before: bool, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        if is_overruled_before:
            await renamed_by_a_person(fake, tmp_path, "old")
            await settled(fake, clock, backend)
            assert name_of(fake, "s") == "new"
        await renamed_by_a_person(fake, tmp_path, "old")
        change = await backend.update_session_state("s", {"ours": 1})
        assert change.changed == {"state": {"kept": 1, "ours": 1}}
        assert name_of(fake, "s") == "old"
        if is_overruled_before:
            await settled(fake, clock, backend)
            assert name_of(fake, "s") == "old"


@pytest.mark.parametrize("is_changed", [False, True], ids=("as it was", "changed by us"))
async def test_pending_writes_from_the_future_are_dropped_after_the_clock_was_set_back(
    is_changed: bool, tmp_path: Path, clock: Clock
) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        clock.now += DAY
        await backend.rename_session("s", "new")
        await settled(fake, clock, backend)
        clock.now -= DAY
        if is_changed:
            await backend.update_session_state("s", {"ours": 1})
        await renamed_by_a_person(fake, tmp_path, "old")
        await settled(fake, clock, backend)
        clock.now += DAY
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


def opened(url: str, folder: Path, token: str = "") -> SessionBackend:
    return open_backend(f"agentos+{url}", data_folder=str(folder), token=token)


SPELLINGS = ("http://127.0.0.1", "http://localhost", "http://127.0.0.1/")


@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("second", SPELLINGS)
async def test_all_spellings_of_an_address_share_one_journal(
    first: str, second: str, tmp_path: Path, clock: Clock
) -> None:
    async with SeenAgentOs() as fake:
        fake.seed(*SEEDS)
        port = fake.url.rpartition(":")[2]
        one, other = (f"{url.rstrip('/')}:{port}{'/' if url.endswith('/') else ''}" for url in (first, second))
        async with opened(one, tmp_path) as backend, opened(other, tmp_path) as another:
            await backend.rename_session("s", "new")
            await another.rename_session("s", "old")
            before = len(fake.requests)
            await settled(fake, clock, backend)
            await settled(fake, clock, another)
        assert not [request for request in writes(fake.requests[before:]) if request.path.startswith("/sessions/s")]
        assert name_of(fake, "s") == "old"


class PrivateAgentOs(SeenAgentOs):
    """A fake AgentOS that shows its session `s` to one credential only."""

    def _answer(self, request: Request) -> Response:
        is_hidden = request.path.startswith("/sessions/s") and request.headers.get("authorization") != "Bearer ann's"
        return Response(404, b'{"detail": "Session not found"}') if is_hidden else super()._answer(request)


async def test_a_caller_who_cannot_see_a_session_drops_no_pending_writes_of_others(
    tmp_path: Path, clock: Clock
) -> None:
    async with PrivateAgentOs() as fake:
        fake.seed(*SEEDS)
        async with opened(fake.url, tmp_path, "ann's") as ann, run_of(fake):
            await ann.rename_session("s", "new")
        assert name_of(fake, "s") == "old"
        async with opened(fake.url, tmp_path, "ben's") as ben:
            clock.now += MINUTE
            await settled(fake, clock, ben)
        assert name_of(fake, "s") == "old"
        async with opened(fake.url, tmp_path, "ann's") as ann:
            await settled(fake, clock, ann)
        assert name_of(fake, "s") == "new"


@pytest.mark.usefixtures("impatient_journal")
async def test_a_change_is_made_even_if_the_journal_is_locked_and_the_next_one_is_recorded(
    tmp_path: Path, clock: Clock
) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        with closing(sqlite3.connect(tmp_path / "agentos.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM held").fetchall()
            change = await backend.rename_session("s", "old")
            assert change.changed == {"name": "old"}
            assert "AgentOS overwrites this" in change.note
            assert "made again" not in change.note
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"
        async with run_of(fake):
            assert "made again" in (await backend.rename_session("s", "newest")).note
        assert stored(fake, "s")["session_data"]["session_name"] == "old"
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "newest"
