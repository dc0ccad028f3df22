"""The messages that a history shows and leaves out."""

import json

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import NotFound
from mcp_sessions.models import HistoryQuery, MessagePage

from .harness import Seed, System
from .samples import SAID, WEATHER, exchanges

owed = pytest.mark.owes(Capability.GET_SESSION_HISTORY)


def _texts(page: MessagePage) -> list[str]:
    return [message.text for message in page.messages]


@owed
async def test_an_empty_session_has_an_empty_history(system: System) -> None:
    session_id = await system.seed_one(Seed())
    page = await system.backend.get_session_history(session_id)
    assert (page.session_id, page.messages, page.next_cursor, page.omitted_messages) == (session_id, (), "", 0)


@owed
async def test_a_history_has_the_conversation_oldest_first_and_counts_hidden_messages(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    page = await system.backend.get_session_history(session_id)
    assert _texts(page) == SAID
    assert [message.role for message in page.messages] == ["user", "assistant", "user", "assistant"]
    assert all(not message.tool_calls for message in page.messages)
    assert page.omitted_messages == 2
    assert page.next_cursor == ""


@owed
async def test_tool_messages_are_shown_on_request(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    page = await system.backend.get_session_history(session_id, HistoryQuery(include_tools=True))
    assert _texts(page) == [message.text for run in WEATHER for message in run]
    assert page.omitted_messages == 0
    ((call,),) = (message.tool_calls for message in page.messages if message.tool_calls)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Rome"})
    (tool,) = (message for message in page.messages if message.role == "tool")
    assert (tool.text, tool.tool_name) == ("22 degrees", "get_weather")


@owed
async def test_roles_select_messages_and_the_role_tool_includes_tool_messages(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    users = await system.backend.get_session_history(session_id, HistoryQuery(roles=["user"]))
    assert _texts(users) == ["What is the weather in Rome?", "And here?"]
    assert users.omitted_messages == 4
    assert _texts(await system.backend.get_session_history(session_id, HistoryQuery(roles=["tool"]))) == ["22 degrees"]
    both = await system.backend.get_session_history(session_id, HistoryQuery(roles=["tool", "user"]))
    assert _texts(both) == ["What is the weather in Rome?", "22 degrees", "And here?"]
    assert _texts(await system.backend.get_session_history(session_id, HistoryQuery(roles=["system"]))) == []


@owed
async def test_an_attachment_is_described(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    page = await system.backend.get_session_history(session_id)
    ((attachment,),) = (message.attachments for message in page.messages if message.attachments)
    assert (attachment.type, attachment.media_type) == ("image", "image/png")
    assert attachment.url == "https://example.org/map.png"


@owed
async def test_the_first_page_is_the_newest(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(5)))
    page = await system.backend.get_session_history(session_id, limit=3)
    assert _texts(page) == ["answer 4", "question 5", "answer 5"]
    assert page.next_cursor
    assert page.omitted_messages == 0


@owed
async def test_a_message_of_any_role_is_found_by_its_id(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    everything = (await system.backend.get_session_history(session_id, HistoryQuery(include_tools=True))).messages
    assert len({message.id for message in everything}) == 6
    for message in everything:
        (found,) = (await system.backend.get_session_history(session_id, HistoryQuery(message_id=message.id))).messages
        assert (found.id, found.role, found.text) == (message.id, message.role, message.text)
        assert found.tool_calls == message.tool_calls


@owed
async def test_a_page_around_a_message_has_the_messages_before_and_after_it(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(10)))
    everything = (await system.backend.get_session_history(session_id, limit=200)).messages
    ids = [message.id for message in everything]
    for place in (0, 1, 9, 18, 19):
        page = await system.backend.get_session_history(session_id, HistoryQuery(around=ids[place]), limit=5)
        shown = [ids.index(message.id) for message in page.messages]
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        assert place in shown
        assert 1 <= len(shown) <= 5
        if place == 9:
            assert shown[0] < place < shown[-1]


@owed
async def test_a_page_around_a_message_has_it_even_if_the_filter_excludes_it(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    everything = (await system.backend.get_session_history(session_id, HistoryQuery(include_tools=True))).messages
    (tool,) = (message for message in everything if message.role == "tool")
    page = await system.backend.get_session_history(session_id, HistoryQuery(around=tool.id))
    assert tool.id in [message.id for message in page.messages]


ABSENT_MESSAGES = ("m999", "m0", "m-1", "m", "999", "..", "m1\0", "m1'", "\ud800", "m" + "9" * 400)


@owed
async def test_an_unknown_message_is_not_found(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    for message_id in ABSENT_MESSAGES:
        for query in (HistoryQuery(message_id=message_id), HistoryQuery(around=message_id)):
            with pytest.raises(NotFound, match="message"):
                await system.backend.get_session_history(session_id, query)


@owed
async def test_a_message_of_another_session_is_not_found(system: System) -> None:
    empty, full = await system.seed(Seed(), Seed(runs=WEATHER))
    message = (await system.backend.get_session_history(full)).messages[0]
    with pytest.raises(NotFound, match="message"):
        await system.backend.get_session_history(empty, HistoryQuery(message_id=message.id))


@pytest.mark.owes(Capability.GET_SESSION_HISTORY, Capability.GET_SESSION_RUNS)
async def test_a_message_has_the_id_of_its_run(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    newest, oldest = (await system.backend.get_session_runs(session_id)).runs
    messages = (await system.backend.get_session_history(session_id, HistoryQuery(include_tools=True))).messages
    assert [message.run_id for message in messages] == [oldest.id] * 4 + [newest.id] * 2
