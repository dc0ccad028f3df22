"""The base class of backends: unsupported operations, and bulk actions made of single ones."""

from datetime import UTC, datetime

import pytest
from mcp.client import Client

from mcp_sessions import create_server
from mcp_sessions.backends.base import REQUIRED, Capability, SessionBackend
from mcp_sessions.errors import Conflict, Invalid, NotFound, SessionsError, Unavailable, Unsupported
from mcp_sessions.models import BulkAction, Change, SessionDetail
from tests.support.clients import both_eras, text_of


class Shelf(SessionBackend):
    """A backend with some names that can be archived, and nothing else."""

    title = "the shelf"
    capabilities = REQUIRED | {Capability.ARCHIVE_SESSION, Capability.APPLY_TO_SESSIONS}

    def __init__(self, **failures: SessionsError) -> None:
        self._failures = failures
        self.archived: list[str] = []

    async def get_session(self, session_id: str) -> SessionDetail:
        archived_at = datetime(2024, 5, 1, tzinfo=UTC) if session_id in self.archived else None
        return SessionDetail(id=session_id, name=session_id.upper(), archived_at=archived_at)

    async def archive_session(self, session_id: str) -> Change:
        if session_id in self._failures:
            raise self._failures[session_id]
        self.archived.append(session_id)
        return Change(session_id=f"{session_id}-archived")


@both_eras
async def test_a_backend_without_user_scoping_serves_only_the_operator(era: str) -> None:
    async with Client(create_server(Shelf()), mode=era) as client:
        assert not (await client.call_tool("get_session", {"session_id": "a"})).is_error
    async with Client(create_server(Shelf(), user="ann"), mode=era) as client:
        for tool in ("get_session", "archive_session"):
            result = await client.call_tool(tool, {"session_id": "a"})
            assert text_of(result).startswith("unsupported: the backend of the shelf does not declare that it limits ")


async def test_a_bulk_action_continues_after_a_failure_and_has_each_error_text() -> None:
    shelf = Shelf(b=NotFound("no b. Look elsewhere."), d=Conflict("d changed."))
    result = await shelf.apply_to_sessions("archive", ["a", "b", "c", "d", "a"], dry_run=False)
    assert shelf.archived == ["a", "c"]
    assert result.succeeded == ("a-archived", "c-archived")
    assert [(failure.session_id, failure.error) for failure in result.failed] == [
        ("b", "not_found: no b. Look elsewhere."),
        ("d", "conflict: d changed."),
    ]


async def test_a_dry_run_lists_the_sessions_that_would_change() -> None:
    shelf = Shelf()
    await shelf.archive_session("b")
    result = await shelf.apply_to_sessions("archive", ["a", "b", "c"])
    assert [(target.session_id, target.name) for target in result.would_change] == [("a", "A"), ("c", "C")]
    assert (result.succeeded, shelf.archived) == ((), ["b"])


async def test_an_unexpected_error_ends_a_bulk_action() -> None:
    class Broken(Shelf):
        async def archive_session(self, session_id: str) -> Change:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Broken().apply_to_sessions("archive", ["a"], dry_run=False)


@pytest.mark.parametrize("action", ["restore", "delete"])
async def test_a_bulk_action_without_its_single_operation_fails_for_each_session(action: BulkAction) -> None:
    result = await Shelf().apply_to_sessions(action, ["a", "b"], dry_run=False)
    assert [failure.error for failure in result.failed] == [f"unsupported: the shelf has no {action}_session."] * 2


async def test_a_method_that_is_not_overridden_is_unsupported_and_names_the_backend() -> None:
    with pytest.raises(Unsupported, match=r"the shelf has no rename_session\."):
        await Shelf().rename_session("a", "b")


def test_the_default_deletion_notice_says_that_it_cannot_be_undone() -> None:
    assert "can't be undone" in Shelf().deletion_notice()


class ErasableShelf(Shelf):
    """A shelf whose sessions can be deleted, and whose reads fail as `failures` says."""

    capabilities = Shelf.capabilities | {Capability.DELETE_SESSION}

    async def get_session(self, session_id: str) -> SessionDetail:
        if session_id in self._failures:
            raise self._failures[session_id]
        return await super().get_session(session_id)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        return Change(session_id=session_id, previous={"version": expected_version})


async def test_a_session_that_cannot_be_read_does_not_keep_the_others_from_deletion() -> None:
    shelf = ErasableShelf(b=NotFound("no b."), c=Invalid("c is malformed."), d=Unsupported("d is of another kind."))
    asked = await shelf.get_sessions_for_deletion(["a", "b", "c", "d"])
    assert [session.id for session in asked] == ["a"]
    result = await shelf.apply_to_sessions(
        "delete", ["a", "b", "c", "new"], dry_run=False, expected_versions={"a": "1"}
    )
    assert result.succeeded == ("a",)
    assert [failure.error for failure in result.failed] == [
        "not_found: no b.",
        "invalid: c is malformed.",
        'not_found: session "new" was not found when the user was asked to confirm. Ask again.',
    ]
    with pytest.raises(Unavailable):
        await ErasableShelf(b=Unavailable("it is down.")).get_sessions_for_deletion(["a", "b"])
