"""Changes that Codex makes for us: on the fake app-server, and on the real one where it is installed."""

import fcntl
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.config.build import build_backend
from mcp_sessions.config.settings import Settings
from mcp_sessions.errors import Conflict, Invalid, OutcomeUnknown, Unsupported
from mcp_sessions.models import Message

from ...support.codex_client import installed_codex, is_installed
from ...support.codex_rollouts import Rollout, name_in_index, record
from ...support.fakes.codex import fake_codex
from ...support.file_states import PROCESS_EVENTS, states_in, watched
from .homes import (
    EXPECTED,
    NOW,
    SECOND,
    copy_fixtures,
    copy_fixtures_in_place,
    file_of,
    labelled,
    listed,
    messages_of,
    opened,
    session_of,
    texts_of,
)

PAGINATED, LEGACY, PARENT = labelled("paginated"), labelled("legacy_named"), labelled("parent")
CHILD = next(thread["id"] for thread in EXPECTED if not isinstance(thread["source"], str))
ARCHIVED = labelled("archived")
each_kind = pytest.mark.parametrize("thread_id", [PAGINATED, LEGACY], ids=["paginated", "legacy"])


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)] if is_installed() else ["fake"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return installed_codex() if request.param == "real" else fake_codex(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return copy_fixtures_in_place(tmp_path)


@asynccontextmanager
async def changing(home: Path, program: Path) -> AsyncGenerator[SessionBackend]:
    async with opened(home, command=str(program)) as backend:
        yield backend


async def said_in(backend: SessionBackend, session_id: str) -> list[Message]:
    """Return the prompts and answers in a session."""
    messages = await messages_of(backend, session_id)
    return [one for one in messages if one.role in ("user", "assistant") and not one.tool_calls]


@each_kind
async def test_a_new_name_is_where_codex_reads_it(home: Path, program: Path, thread_id: str) -> None:
    before = file_of(home, thread_id).read_bytes()
    async with changing(home, program) as backend:
        old = (await backend.get_session(thread_id)).name
        change = await backend.rename_session(thread_id, "  Über: a\tname  ")
        assert (change.previous, change.changed) == ({"name": old}, {"name": "Über: a\tname"})
    assert (await session_of(home, thread_id)).name == "Über: a\tname"
    assert file_of(home, thread_id).read_bytes() == before


async def test_a_first_name_can_not_be_taken_away_again_and_the_note_says_so(home: Path, program: Path) -> None:
    async with changing(home, program) as backend:
        change = await backend.rename_session(PARENT, "First")
        assert (change.previous, change.changed) == ({"name": ""}, {"name": "First"})
        assert "can't remove a name" in change.note
        with pytest.raises(Invalid, match="remove a name"):
            await backend.rename_session(PARENT, "")


async def test_subagents_go_along_and_are_named_in_the_notes_and_in_the_question(home: Path, program: Path) -> None:
    async with changing(home, program) as backend:
        assert CHILD in (await backend.archive_session(PARENT)).note
        assert {PARENT, CHILD} <= {session.id for session in await listed(backend, archived=True)}
        assert CHILD in (await backend.restore_session(PARENT)).note
        assert {PARENT, CHILD} <= {session.id for session in await listed(backend)}
        session = await backend.get_session_for_deletion(PARENT)
        assert CHILD in backend.deletion_notice([PARENT])
        assert CHILD not in backend.deletion_notice([LEGACY])
        assert CHILD in (await backend.delete_session(PARENT, expected_version=session.version)).note
    assert not {PARENT, CHILD} & {path.stem[-36:] for path in states_in(home)}


async def test_subagents_that_codex_leaves_as_they_are_are_named_in_the_note(home: Path, tmp_path: Path) -> None:
    async with changing(home, fake_codex(tmp_path, fault="alone:thread/archive")) as backend:
        note = (await backend.archive_session(PARENT)).note
        assert note == f"Codex has not archived these sessions of its subagents: {CHILD}."
        assert CHILD in {session.id for session in await listed(backend)}


async def test_subagents_that_were_changed_without_the_session_itself_are_named_in_the_error(
    home: Path, tmp_path: Path
) -> None:
    async with changing(home, fake_codex(tmp_path, fault="partly:thread/archive")) as backend:
        with pytest.raises(OutcomeUnknown) as caught:
            await backend.archive_session(PARENT)
        assert "Codex has archived sessions" in caught.value.text
        assert CHILD in caught.value.text
    async with changing(home, fake_codex(tmp_path)) as backend:
        assert CHILD in {session.id for session in await listed(backend, archived=True)}
        await backend.archive_session(PARENT)
        assert PARENT in {session.id for session in await listed(backend, archived=True)}


async def test_all_files_of_a_reverted_thread_are_archived_restored_and_deleted(home: Path, program: Path) -> None:
    thread_id = labelled("reverted")
    before = await texts_of(home, thread_id)
    async with changing(home, program) as backend:
        await backend.archive_session(thread_id)
        assert len([*(home / "archived_sessions").glob(f"*{thread_id}*")]) == 2
        await backend.restore_session(thread_id)
        assert await texts_of(home, thread_id) == before
        fork = await backend.fork_session(thread_id)
        assert [message.text for message in await messages_of(backend, fork.id)] == before
        with pytest.raises(Conflict, match=fork.id):
            await backend.delete_session(thread_id)
        await backend.delete_session(fork.id)
        await backend.delete_session(thread_id)
    assert not [path for path in states_in(home) if thread_id in path.name and path.suffix == ".jsonl"]


async def test_a_thread_that_forks_continue_is_not_deleted_and_the_forks_are_named(home: Path, tmp_path: Path) -> None:
    before = states_in(home)
    async with changing(home, fake_codex(tmp_path)) as backend:
        for call in (backend.get_session_for_deletion, backend.delete_session):
            with pytest.raises(Conflict, match=labelled("paginated_fork")):
                await call(PAGINATED)
    assert states_in(home) == before  # the real one removes the snapshot before it refuses


@each_kind
async def test_a_fork_ends_after_the_turn_of_its_last_message(home: Path, program: Path, thread_id: str) -> None:
    async with changing(home, program) as backend:
        said = await said_in(backend, thread_id)
        second = [place for place, one in enumerate(said) if one.role == "user"][1]
        with pytest.raises(Invalid, match="whole turn"):
            await backend.fork_session(thread_id, up_to_message_id=said[0].id)
        fork = await backend.fork_session(thread_id, up_to_message_id=said[second - 1].id, name="Another way")
        assert (fork.name, fork.parent_id, fork.is_live) == ("Another way", thread_id, False)
        assert [one.text for one in await said_in(backend, fork.id)] == [one.text for one in said[:second]]
        assert fork == await backend.get_session(fork.id)
        whole = await backend.fork_session(thread_id, up_to_message_id=said[-1].id)
        assert [one.text for one in await said_in(backend, whole.id)] == [one.text for one in said]


async def test_an_archived_thread_is_restored_before_it_is_renamed_or_forked(home: Path, tmp_path: Path) -> None:
    async with changing(home, fake_codex(tmp_path)) as backend:
        with pytest.raises(Conflict, match="restore_session"):
            await backend.rename_session(ARCHIVED, "name")
        with pytest.raises(Conflict, match="restore_session"):
            await backend.fork_session(ARCHIVED)
        change = await backend.restore_session(ARCHIVED, name="name")
        assert (change.changed["name"], change.previous["name"]) == ("name", "Finished compass")


async def test_a_thread_that_codex_has_open_is_renamed_but_not_archived_or_deleted(home: Path, program: Path) -> None:
    lock = home / "thread-writer-locks" / f"{CHILD}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        async with changing(home, program) as backend:
            await backend.rename_session(CHILD, "name")
            for session_id in (CHILD, PARENT):
                with pytest.raises(Conflict, match="open"):
                    await backend.archive_session(session_id)
                with pytest.raises(Conflict, match="open"):
                    await backend.get_session_for_deletion(session_id)
                with pytest.raises(Conflict, match="open"):
                    await backend.delete_session(session_id)


async def test_nothing_is_changed_in_a_home_that_was_moved_or_copied(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    before = states_in(home)
    async with changing(home, fake_codex(tmp_path)) as backend:
        with watched() as events:
            for change in (
                backend.rename_session(LEGACY, "name"),
                backend.archive_session(LEGACY),
                backend.restore_session(ARCHIVED),
                backend.delete_session(LEGACY),
                backend.fork_session(LEGACY),
            ):
                with pytest.raises(Conflict, match="moved or copied"):
                    await change
    assert states_in(home) == before
    assert not [event for event, _ in events if event.startswith(PROCESS_EVENTS)]


async def test_without_codex_changes_are_refused_and_the_error_says_what_to_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    async with opened(home) as backend:
        assert Capability.RENAME_SESSION not in backend.capabilities
        with pytest.raises(Unsupported, match=r"Install Codex, or name its program .* codex:\?command=PATH"):
            await backend.rename_session(LEGACY, "name")
        with pytest.raises(Unsupported, match=r"^Codex has no create_session"):
            await backend.create_session()


async def test_a_codex_on_the_path_is_used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_codex(tmp_path).rename(tmp_path / "codex")
    monkeypatch.setenv("PATH", str(tmp_path))
    async with opened(home) as backend:
        await backend.rename_session(LEGACY, "name")
    assert (await session_of(home, LEGACY)).name == "name"


def test_a_program_that_is_not_there_is_refused_when_the_backend_is_opened(home: Path) -> None:
    with pytest.raises(Invalid, match=r"the option command .* accepts the path of a program"):
        build_backend(Settings.read({"backend": f"codex://{home}?command=/nonexistent/codex"}, {}))


async def test_with_an_overlay_codex_itself_archives(home: Path, tmp_path: Path) -> None:
    url = f"codex://{home}?command={fake_codex(tmp_path)}"
    async with build_backend(
        Settings.read({"backend": url, "overlay": f"sqlite:///{tmp_path}/overlay.db"}, {})
    ) as both:
        change = await both.archive_session(LEGACY)
        assert change.kept_by_overlay == ()
        await both.update_session(LEGACY, summary="a summary")
        assert (await both.get_session(LEGACY)).kept_by_overlay == ("summary",)
    assert file_of(home, LEGACY).parent.name == "archived_sessions"


@pytest.mark.parametrize(("legacy", "version"), [(False, "0.144.6"), (False, "0.120.0"), (True, "0.120.0")])
async def test_what_an_older_codex_can_not_do_is_refused(tmp_path: Path, legacy: bool, version: str) -> None:
    home = tmp_path / "home"
    made = Rollout(legacy=legacy, moment=NOW)
    for place in range(2):
        made.turn(f"question {place}", "answer", NOW + place * SECOND)
    path = made.write(home)
    if not legacy:
        record(home, made, path, name="Before")
    async with changing(home, fake_codex(tmp_path, version=version)) as backend:
        first = (await messages_of(backend, made.id))[1].id
        refused = [backend.delete_session(made.id), backend.fork_session(made.id, up_to_message_id=first)]
        if not legacy:
            refused += [backend.rename_session(made.id, "name"), backend.fork_session(made.id)]
        for change in refused:
            with pytest.raises(Unsupported, match=rf"^Codex {version} can't .* Update Codex"):
                await change
        assert len(await listed(backend)) == 1
        with pytest.raises(Conflict, match="changed in the last minute"):
            await backend.archive_session(made.id)


async def test_a_second_server_changes_the_same_home_at_once(home: Path, tmp_path: Path) -> None:
    name_in_index(home, "unrelated", "name")
    program = fake_codex(tmp_path)
    async with changing(home, program) as one, changing(home, program) as two:
        await one.rename_session(LEGACY, "one")
        await two.rename_session(PAGINATED, "two")
        assert (await one.get_session(PAGINATED)).name == "two"
        assert (await two.get_session(LEGACY)).name == "one"
        assert json.loads((home / "session_index.jsonl").read_text().splitlines()[-1])["thread_name"] == "two"
        await one.archive_session(LEGACY)
        assert (await two.archive_session(LEGACY)).note == "It was archived already; nothing was changed."
