"""`Many`: which backend a call goes to, and what its results and errors say."""

import inspect
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_sessions import create_server
from mcp_sessions.backends.base import REQUIRED, Capability, SessionBackend
from mcp_sessions.backends.layers.many import Many, combine_backends
from mcp_sessions.backends.layers.many.ids import IdConverter
from mcp_sessions.backends.layers.many.router import Router
from mcp_sessions.backends.layers.read_only_backend import ReadOnlyBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, NotFound, Unsupported
from mcp_sessions.models import Change, MessagePage, NewMessage, RunPage, SessionDetail, SessionFilter

from ..contract.embedded import RequiredOnly
from .test_wrapper import METHODS, OF_VIEWS, PUBLIC, VALUES, Recorder, Separating, call, parameters_of

FOR_LAYERS = {"transcript_feed", "protect_session"}
"""What an overlay and a search index call on the backend that they are around, which is one of several at most."""
ON_ONE_SESSION = [
    name
    for name in METHODS
    if "session_id" in [parameter.name for parameter in parameters_of(name)]
    and name not in {"canonical_id", "may_be_hint", "resolve_hint", *FOR_LAYERS}
]


RESULTS: dict[str, object] = {
    "SessionDetail": SessionDetail(id="7"),
    "Change": Change(session_id="7"),
    "MessagePage": MessagePage(session_id="7", messages=()),
    "RunPage": RunPage(session_id="7", runs=()),
    "dict": {},
}


class Answering(Recorder):
    """A recorder that returns real results, since `Many` puts full ids into them."""


def answering(name: str) -> Any:
    record = getattr(Recorder, name)
    returned = inspect.signature(getattr(SessionBackend, name)).return_annotation

    async def answer(self: Answering, *args: Any, **kwargs: Any) -> object:
        await record(self, *args, **kwargs)
        return RESULTS[returned.__name__]

    return answer


for method in ON_ONE_SESSION:
    setattr(Answering, method, answering(method))


class Unscoped(SessionBackend):
    title = "Unscoped"


@asynccontextmanager
async def two_stores(**others: SessionBackend) -> AsyncGenerator[Many]:
    """Yield a store without a name, one named `work`, and others."""
    async with Many({"": open_backend(), "work": open_backend(), **others}) as many:
        yield many


def test_no_public_attribute_of_a_backend_is_forgotten() -> None:
    assert {*vars(Many), *vars(Router)} >= PUBLIC - VALUES - OF_VIEWS - FOR_LAYERS
    assert set(vars(Many({"": Recorder()}))) >= VALUES


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_the_backends(name: str) -> None:
    assert inspect.signature(getattr(Many, name)) == inspect.signature(getattr(SessionBackend, name))


@pytest.mark.parametrize("name", ON_ONE_SESSION)
async def test_a_call_on_a_session_reaches_its_backend_with_the_same_arguments(name: str) -> None:
    bare, work = Answering(), Answering()
    async with Many({"": bare, "work": work}) as many:
        for session_id, reached, other, own_id in (("work/7", work, bare, "7"), ("7", bare, work, "7")):
            bare.calls.clear()
            work.calls.clear()
            parameters = parameters_of(name)
            given: dict[str, Any] = {item.name: object() for item in parameters} | {"session_id": session_id}
            named = {item.name: given[item.name] for item in parameters if item.kind is item.KEYWORD_ONLY}
            await call(getattr(many, name), *[given[key] for key in given if key not in named], **named)
            (arrived,) = reached.calls
            assert (arrived.name, arrived.arguments) == (name, given | {"session_id": own_id})
            assert other.calls == []


@pytest.mark.parametrize(
    ("session_id", "name", "own_id"),
    [
        ("5", "", "5"),
        ("work/5", "work", "5"),
        ("work/", "work", ""),
        ("work", "", "work"),
        ("work/a/b", "work", "a/b"),
        ("work/work/5", "work", "work/5"),
        ("works/5", "", "works/5"),
        ("Work/5", "", "Work/5"),
        ("work-2/5", "work-2", "5"),
        ("/work/5", "", "work/5"),
        ("//work/5", "", "/work/5"),
        ("/other/5", "", "/other/5"),
        ("", "", ""),
        ("/", "", "/"),
    ],
)
def test_every_id_belongs_to_one_session_of_one_backend(session_id: str, name: str, own_id: str) -> None:
    ids = IdConverter(["", "work", "work-2"])
    assert ids.address(session_id) == (name, own_id)
    assert ids.full_id(name, own_id) == session_id


@pytest.mark.parametrize("name", ["Work", "1st", "a" * 17, "a b", "a/b", "ä", "-a"])
def test_a_bad_name_of_a_backend_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Many({"": Recorder(), name: Recorder()})


def test_a_single_backend_is_returned_unchanged() -> None:
    only = Recorder()
    assert combine_backends({"work": only}) is only


async def test_notes_and_errors_have_the_ids_that_callers_see() -> None:
    async with two_stores() as many:
        created = await many.creating_in("work").create_session(name="Trip")
        assert created.id.startswith("work/")
        deleted = await many.delete_session(created.id)
        assert f'restore_session("{created.id}")' in deleted.note
        with pytest.raises(NotFound, match=f'session "{created.id}" was deleted'):
            await many.get_session(created.id)
        assert (await many.restore_session(created.id)).session_id == created.id


async def test_an_id_without_a_backend_is_not_found() -> None:
    async with Many({"one": open_backend(), "two": open_backend()}) as many:
        for session_id in ("5", "three/5", "/one/5", "one/", ""):
            with pytest.raises(NotFound, match=f'no session "{session_id}".*begin with one/, two/'):
                await many.get_session(session_id)
        result = await many.apply_to_sessions("archive", ["5", "one/5"], dry_run=False)
        assert [failure.session_id for failure in result.failed] == ["5", "one/5"]


async def test_sessions_have_the_name_of_their_backend_which_is_empty_for_the_unnamed_one() -> None:
    async with two_stores() as many:
        await many.create_session(name="bare")
        await many.creating_in("work").create_session(name="named")
        page = await many.list_sessions(SessionFilter())
        assert {session.name: session.backend for session in page.sessions} == {"bare": "", "named": "work"}
        for session in page.sessions:
            assert (await many.get_session(session.id)).backend == session.backend
        assert page.total == 2


async def test_an_operation_that_a_backend_lacks_is_refused_with_the_backends_name() -> None:
    async with two_stores(notes=RequiredOnly(open_backend())) as many:
        assert many.capabilities == frozenset(Capability)
        with pytest.raises(Unsupported, match=r"notes \(a read-only backend\) has no rename_session"):
            await many.rename_session("notes/5", "New")


async def test_new_sessions_are_created_in_the_unnamed_backend_unless_another_one_is_named() -> None:
    async with two_stores(notes=RequiredOnly(open_backend())) as many:
        assert (await many.create_session()).backend == ""
        assert list(many.create_targets()) == ["", "work"]
        for name in ("notes", "nothing", "WORK"):
            with pytest.raises(Invalid, match='"work"'):
                many.creating_in(name)


async def test_without_an_unnamed_backend_the_first_one_that_can_create_sessions_is_used() -> None:
    async with Many({"notes": RequiredOnly(open_backend()), "b": open_backend(), "a": open_backend()}) as many:
        assert (await many.create_session()).backend == "b"


async def test_a_backend_that_is_read_only_refuses_changes() -> None:
    store = open_backend()
    async with Many({"": open_backend(), "work": ReadOnlyBackend(store)}) as many:
        session = await store.create_session(name="Mine")
        assert (await many.get_session(f"work/{session.id}")).name == "Mine"
        for change in (many.rename_session(f"work/{session.id}", "Theirs"), many.archive_session(f"work/{session.id}")):
            with pytest.raises(Unsupported, match="work"):
                await change
        assert many.create_targets() == ()
        result = await many.apply_to_sessions("delete", [f"work/{session.id}"], dry_run=False)
        assert result.failed[0].error.startswith("unsupported: ")


def test_a_read_only_store_has_only_operations_that_read() -> None:
    assert ReadOnlyBackend(open_backend()).capabilities == REQUIRED | {
        Capability.SEARCH_SESSIONS,
        Capability.GET_SESSION_RUNS,
    }


async def test_bulk_actions_reach_sessions_of_all_backends_in_the_order_asked_for() -> None:
    async with two_stores() as many:
        bare, other = await many.create_session(name="bare"), await many.create_session(name="other")
        named = await many.creating_in("work").create_session(name="named")
        ids = [named.id, bare.id, "work/absent", other.id, named.id]
        assert [target.session_id for target in (await many.apply_to_sessions("delete", ids)).would_change] == [
            named.id,
            bare.id,
            other.id,
        ]
        versions = dict.fromkeys(ids, "1")
        done = await many.apply_to_sessions("delete", ids, dry_run=False, expected_versions=versions)
        assert done.succeeded == (named.id, bare.id, other.id)
        assert [failure.session_id for failure in done.failed] == ["work/absent"]
        both = "work (the embedded store) and the embedded store: Messages"
        assert done.note.startswith(both)
        assert many.deletion_notice([named.id, bare.id]).startswith(both)
        assert "work" not in many.deletion_notice([named.id])


async def test_the_beginning_of_a_backends_name_is_completed_to_ids_of_its_sessions() -> None:
    async with two_stores() as many:
        bare = await many.create_session()
        named = await many.creating_in("work").create_session()
        assert await many.find_session_ids("wo") == [named.id]
        assert await many.find_session_ids("work/") == [named.id]
        assert await many.find_session_ids(named.id) == [named.id]
        assert await many.find_session_ids(bare.id) == [bare.id]


def test_users_are_refused_if_one_backend_cannot_limit_them_to_their_own_sessions() -> None:
    many = Many({"": Separating(), "work": Unscoped()})
    assert many.why_no_user_scoping().startswith("work (Unscoped): ")
    with pytest.raises(Unsupported, match="work"):
        many.for_caller(Caller(user_id="ann"))


async def test_a_credential_reaches_only_the_backend_that_it_is_for() -> None:
    seen: dict[str, str] = {}

    class Spy(Answering):
        def why_no_user_scoping(self) -> str:
            return ""

        def _prepare_view(self) -> None:
            seen[self.title] = self.caller.credential

    bare, work, home = Spy(), Spy(), Spy()
    bare.title, work.title, home.title = "bare", "work", "home"
    async with Many({"": bare, "work": work, "home": home}) as many:
        view = many.for_caller(Caller(user_id="ann", credential="C1", credentials={"work": "C2"}))
        for session_id in ("5", "work/5", "home/5"):
            await view.get_session_history(session_id)
    assert seen == {"bare": "C1", "work": "C2", "home": ""}


def test_a_server_accepts_backends_by_name() -> None:
    assert "create_session" in create_server({"": open_backend(), "work": open_backend()}).tool_names
    with pytest.raises(ValueError, match="name"):
        create_server({"": open_backend(), "WORK": open_backend()})
    with pytest.raises(ValueError, match="no backend"):
        create_server({})


async def test_messages_are_appended_in_the_sessions_own_backend() -> None:
    async with two_stores() as many:
        named = await many.creating_in("work").create_session()
        await many.append_messages(named.id, [NewMessage(role="user", text="Hello")])
        page = await many.get_session_history(named.id)
        assert (page.session_id, [message.text for message in page.messages]) == (named.id, ["Hello"])
        assert (await many.get_session_runs(named.id)).session_id == named.id
        (hit,) = (await many.search_sessions("hello")).hits
        assert hit.session_id == named.id
