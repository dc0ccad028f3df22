"""Changes whose answers are lost, messages that are appended all or none, and the password."""

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import OutcomeUnknown, Unauthorized, Unavailable, Unsupported
from mcp_sessions.models import NewMessage, SessionFilter

from ...contract.harness import Seed
from ...contract.samples import exchanges
from ...support.faked_opencode import backend_on, faked
from ...support.fakes.http import Response
from ...support.fakes.opencode import FakeOpencode, Fault

DROPPED = Response(200, sent="none")
FAILED = Response(500)


def users(*texts: str) -> list[NewMessage]:
    return [NewMessage(role="user", text=text) for text in texts]


async def texts(backend: SessionBackend, session_id: str) -> list[str]:
    return [message.text for message in (await backend.get_session_history(session_id)).messages]


@pytest.mark.parametrize("answer", [FAILED, Response(200, b"not JSON")])
async def test_a_change_whose_answer_is_lost_is_found_by_reading_back(answer: Response) -> None:
    async with faked(Seed(name="Trip"), Seed()) as (fake, backend, (renamed, deleted)):
        fake.faults.append(Fault(answer, "PATCH", after=True))
        assert (await backend.rename_session(renamed, "Trip to Rome")).changed == {"name": "Trip to Rome"}
        fake.faults.append(Fault(answer, "DELETE", after=True))
        await backend.delete_session(deleted)
        assert [*fake.store.sessions] == [renamed]


async def test_a_change_that_was_not_made_is_reported_so() -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        for method in ("PATCH", "DELETE"):
            fake.faults.append(Fault(FAILED, method))
        with pytest.raises(Unavailable, match="was not made"):
            await backend.archive_session(session_id)
        with pytest.raises(Unavailable, match="was not made"):
            await backend.delete_session(session_id)


async def test_a_deletion_that_cannot_be_read_back_is_unknown() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(FAILED, "GET", session_id, skips=2))
        with pytest.raises(OutcomeUnknown):
            await backend.delete_session(session_id)


async def test_an_appended_message_whose_answer_is_lost_is_appended_once() -> None:
    async with faked(Seed(runs=exchanges(1))) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(DROPPED, "POST", after=True))
        await backend.append_messages(session_id, users("One", "Two"))
        assert await texts(backend, session_id) == ["question 1", "answer 1", "One", "Two"]


async def test_either_all_messages_are_appended_or_none() -> None:
    async with faked(Seed(runs=exchanges(1))) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(FAILED, "POST", skips=1))
        with pytest.raises(Unavailable):
            await backend.append_messages(session_id, users("One", "Two", "Three"))
        assert await texts(backend, session_id) == ["question 1", "answer 1"]


async def test_messages_that_could_not_be_removed_again_are_reported() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        fake.faults += [Fault(FAILED, "POST", skips=1), Fault(FAILED, "DELETE")]
        with pytest.raises(OutcomeUnknown, match="only some"):
            await backend.append_messages(session_id, users("One", "Two"))


@pytest.mark.parametrize(("agent", "kept"), [("plan", "plan"), ("planner", "build")])
async def test_an_appended_message_is_for_the_sessions_agent_if_opencode_still_has_it(agent: str, kept: str) -> None:
    async with faked(Seed(agent_id=agent)) as (_, backend, (session_id,)):
        await backend.append_messages(session_id, users("One"))
        assert (await backend.get_session(session_id)).agent_id == kept
        assert await texts(backend, session_id) == ["One"]


@pytest.mark.parametrize("message", [NewMessage(role="assistant", text="Yes"), NewMessage(role="user")])
async def test_messages_that_opencode_does_not_accept_are_refused(message: NewMessage) -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        with pytest.raises(Unsupported):
            await backend.append_messages(session_id, [*users("One"), message])
        assert fake.requests == []


async def test_a_fork_that_cannot_be_renamed_is_returned_with_a_note() -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(FAILED, "PATCH"))
        fork = await backend.fork_session(session_id, name="Copy")
        assert fork.name == "Trip (fork #1)"
        assert "could not be renamed" in fork.note


async def test_the_token_is_sent_as_the_password_of_opencodes_user() -> None:
    async with FakeOpencode(password="secret") as fake, backend_on(fake) as backend:
        with pytest.raises(Unauthorized, match="MCP_SESSIONS_TOKEN is not set"):
            await backend.list_sessions(SessionFilter())
    async with FakeOpencode(password="secret") as fake:
        async with backend_on(fake, token="secret") as backend:
            assert (await backend.list_sessions(SessionFilter())).sessions == ()
        async with backend_on(fake, token="secret", query="?username=ann") as backend:
            with pytest.raises(Unauthorized, match="refused the credential"):
                await backend.list_sessions(SessionFilter())


async def test_a_caller_limited_to_a_user_is_refused_with_the_reason() -> None:
    async with faked() as (_, backend, _):
        with pytest.raises(Unsupported, match="no users"):
            backend.for_caller(Caller(subject="ann", user_id="ann"))
