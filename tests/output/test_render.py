"""What is left out of a rendered result."""

from copy import deepcopy

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


def test_where_a_run_id_ends_an_empty_one_says_so() -> None:
    messages: list[JsonObject] = [
        {"id": "1"},
        {"id": "2", "run_id": "a run of many characters"},
        {"id": "3", "run_id": "a run of many characters"},
        {"id": "4"},
        {"id": "5"},
    ]
    leave_out_repeated(messages)
    assert messages == [
        {"id": "1"},
        {"id": "2", "run_id": "a run of many characters"},
        {"id": "3"},
        {"id": "4", "run_id": ""},
        {"id": "5"},
    ]


def test_a_page_does_not_become_larger() -> None:
    messages: list[JsonObject] = [{"id": "1", "run_id": "a"}, {"id": "2"}, {"id": "3", "run_id": "b"}, {"id": "4"}]
    before = deepcopy(messages)
    leave_out_repeated(messages)
    assert messages == before
