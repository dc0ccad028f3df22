"""Histories and runs of the embedded store: behaviour beyond the contract."""

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.models import Attachment, HistoryQuery, NewMessage, ToolCall

from ...contract.samples import WEATHER, exchanges


@pytest.fixture
async def talk(store: SessionBackend) -> str:
    session = await store.create_session(name="Talk", agent_id="planner")
    for run in exchanges(10):
        await store.append_messages(session.id, run)
    return session.id


async def test_messages_and_runs_are_numbered_and_one_append_is_one_run(store: SessionBackend, talk: str) -> None:
    messages = (await store.get_session_history(talk, limit=200)).messages
    assert [message.id for message in messages] == [f"m{number}" for number in range(1, 21)]
    assert [message.run_id for message in messages] == [f"r{(number + 1) // 2}" for number in range(1, 21)]
    runs = (await store.get_session_runs(talk)).runs
    assert [run.id for run in runs] == [f"r{number}" for number in range(10, 0, -1)]
    assert {run.status for run in runs} == {"completed"}
    session = await store.get_session(talk)
    assert (session.message_count, session.run_count) == (20, 10)


async def test_all_messages_of_an_append_have_its_time(store: SessionBackend, talk: str) -> None:
    one, two, three, *_ = (await store.get_session_history(talk, limit=200)).messages
    assert one.created_at is not None and one.created_at.tzinfo is not None
    assert one.created_at == two.created_at
    assert three.created_at is not None and three.created_at > one.created_at


async def test_an_append_returns_the_new_message_ids_and_says_that_it_cannot_be_undone(
    store: SessionBackend, talk: str
) -> None:
    change = await store.append_messages(talk, [NewMessage(role="user", text="One"), NewMessage(role="user")])
    assert "m21 to m22" in change.note
    assert "can't be removed" in change.note
    assert (change.previous, change.changed) == ({"message_count": 20}, {"message_count": 22})


async def test_a_page_around_a_message_says_how_many_newer_ones_there_are(store: SessionBackend, talk: str) -> None:
    page = await store.get_session_history(talk, HistoryQuery(around="m10"), limit=5)
    assert [message.id for message in page.messages] == ["m8", "m9", "m10", "m11", "m12"]
    assert page.focus == "m10"
    assert page.note.startswith("Newer messages: 8. ")
    page = await store.get_session_history(talk, HistoryQuery(around="m20"), limit=5)
    assert ([message.id for message in page.messages][-1], page.note) == ("m20", "")
    assert [
        message.id for message in (await store.get_session_history(talk, HistoryQuery(around="m3"), limit=1)).messages
    ] == ["m3"]


async def test_each_row_has_a_cursor_that_continues_after_it(store: SessionBackend, talk: str) -> None:
    page = await store.get_session_history(talk, limit=200)
    for place, message in enumerate(page.messages):
        rest = await store.get_session_history(talk, limit=200, cursor=message.cursor)
        assert rest.messages == page.messages[:place]
    runs = await store.get_session_runs(talk)
    for place, run in enumerate(runs.runs):
        assert (await store.get_session_runs(talk, cursor=run.cursor)).runs == runs.runs[place + 1 :]


async def test_a_run_without_an_answer_or_a_question_shows_the_other_one(store: SessionBackend) -> None:
    session = await store.create_session()
    call = ToolCall(id="c", name="look", arguments="{}")
    await store.append_messages(session.id, [NewMessage(role="user", text="Only a question")])
    await store.append_messages(
        session.id,
        [
            NewMessage(role="assistant", text="An answer"),
            NewMessage(role="assistant", tool_calls=(call, call)),
            NewMessage(role="tool", text="Seen"),
        ],
    )
    answer, question = (await store.get_session_runs(session.id)).runs
    assert (question.input, question.output, question.tool_calls) == ("Only a question", "", 0)
    assert (answer.input, answer.output, answer.tool_calls) == ("", "An answer", 2)


async def test_a_message_with_only_an_attachment_is_shown(store: SessionBackend) -> None:
    session = await store.create_session()
    picture = Attachment(type="image", media_type="image/png", bytes=12_345)
    await store.append_messages(
        session.id, [NewMessage(role="user", attachments=(picture,)), NewMessage(role="user", text="")]
    )
    (message,) = (await store.get_session_history(session.id)).messages
    assert message.attachments == (picture,)


async def test_a_fork_keeps_the_ids_and_times_of_messages(store: SessionBackend, talk: str) -> None:
    fork = await store.fork_session(talk, up_to_message_id="m5")
    assert fork.name == "Talk"
    theirs = (await store.get_session_history(talk, limit=200)).messages[:5]
    ours = (await store.get_session_history(fork.id, limit=200)).messages
    assert [message.model_copy(update={"cursor": ""}) for message in ours] == [
        message.model_copy(update={"cursor": ""}) for message in theirs
    ]
    assert (fork.message_count, fork.run_count) == (5, 3)
    change = await store.append_messages(fork.id, [NewMessage(role="assistant", text="Another answer")])
    assert "m6" in change.note
    assert (await store.get_session_runs(fork.id)).runs[0].id == "r4"


async def test_an_empty_session_can_be_forked(store: SessionBackend) -> None:
    fork = await store.fork_session((await store.create_session(name="Empty")).id)
    assert (fork.name, fork.message_count, fork.run_count) == ("Empty", 0, 0)


async def test_a_fork_copies_the_summary_and_is_not_archived(store: SessionBackend) -> None:
    session = await store.create_session(name="Talk")
    await store.update_session(session.id, summary="They talked.")
    for run in WEATHER:
        await store.append_messages(session.id, run)
    await store.archive_session(session.id)
    fork = await store.fork_session(session.id)
    assert (fork.summary, fork.archived_at, fork.message_count) == ("They talked.", None, 6)
