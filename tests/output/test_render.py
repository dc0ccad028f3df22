"""What is left out of a rendered result."""

from mcp_sessions.json_documents import JsonObject
from mcp_sessions.output.render import leave_out_repeated


def test_a_run_id_or_time_that_repeats_is_given_once() -> None:
    messages: list[JsonObject] = [
        {"id": "1", "run_id": "a", "created_at": "09:00"},
        {"id": "2", "run_id": "a", "created_at": "09:01"},
        {"id": "3", "run_id": "b", "created_at": "09:01"},
        {"id": "4", "run_id": "a", "created_at": "09:02"},
    ]
    leave_out_repeated(messages)
    assert messages == [
        {"id": "1", "run_id": "a", "created_at": "09:00"},
        {"id": "2", "created_at": "09:01"},
        {"id": "3", "run_id": "b"},
        {"id": "4", "run_id": "a", "created_at": "09:02"},
    ]


def test_a_run_id_that_some_messages_lack_is_given_with_each_of_the_others() -> None:
    messages: list[JsonObject] = [{"id": "1", "run_id": "a"}, {"id": "2"}, {"id": "3", "run_id": "a"}]
    leave_out_repeated(messages)
    assert messages == [{"id": "1", "run_id": "a"}, {"id": "2"}, {"id": "3", "run_id": "a"}]
