"""What real AgentOS servers (3.1.10) answered, shortened."""

from mcp_sessions.json_documents import Json

_USED = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
_DATES = {"created_at": "2026-11-21T12:00:04Z", "updated_at": "2026-11-21T12:00:05Z"}
_QUESTION = {"id": "m1", "role": "user", "content": "weather Oslo", "from_history": False, "created_at": 1795262404}
_CALL = {
    "id": "m2",
    "role": "assistant",
    "from_history": False,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    ],
    "metrics": _USED,
    "created_at": 1795262404,
}
_RESULT = {
    "id": "m3",
    "role": "tool",
    "content": "22 degrees in Oslo",
    "tool_call_id": "call_1",
    "tool_name": "get_weather",
    "tool_args": {"city": "Oslo"},
    "tool_call_error": False,
    "created_at": 1795262404,
}
_ANSWER = {"id": "m4", "role": "assistant", "content": "It is warm", "created_at": 1795262405}
_TOOL = {"tool_call_id": "call_1", "tool_name": "get_weather", "tool_args": {"city": "Oslo"}, "result": "22 degrees"}
_IMAGE = {"id": "i", "format": "png", "mime_type": "image/png", "content": "QUFBQUFBQUE="}
_SESSION = {
    "session_id": "s",
    "session_name": "weather Oslo",
    "session_state": {"a": 1},
    "user_id": "ann",
    "metadata": {"archived_at": "2026-01-01T00:00:00Z", "k": "v"},
    **_DATES,
}

DETAIL: Json = {
    **_SESSION,
    "agent_session_id": "s",
    "agent_id": "planner",
    "agent_data": {"name": "Planner"},
    "session_summary": {"summary": "Of Oslo", "topics": ["weather"], "updated_at": "2026-11-21T12:00:04Z"},
    "total_tokens": 30,
    "metrics": _USED,
    "chat_history": [_QUESTION, _ANSWER],
}
WORKFLOW: Json = {
    **_SESSION,
    "workflow_id": "pipeline",
    "session_data": {"session_name": "weather Oslo", "session_metrics": _USED},
    "workflow_data": {"workflow_id": "pipeline", "name": "Pipeline"},
}
LIST: Json = {
    "data": [{**_SESSION, "session_type": "team", "team_id": "crew", "total_tokens": 60, "metrics": _USED}],
    "meta": {"page": 1, "limit": 20, "total_pages": 1, "total_count": 1, "search_time_ms": 0.0},
}
RUNS: Json = [
    {
        "run_id": "member",
        "parent_run_id": "team",
        "agent_id": "helper",
        "run_input": "look at it",
        "content": "Looked",
        "status": "COMPLETED",
        "messages": [{**_QUESTION, "id": "m5"}, {**_ANSWER, "id": "m6"}],
        "created_at": "2026-11-21T12:00:04Z",
    },
    {
        "run_id": "team",
        "parent_run_id": "",
        "team_id": "crew",
        "run_input": "weather Oslo",
        "content": "It is warm",
        "status": "COMPLETED",
        "metrics": _USED,
        "messages": [{**_QUESTION, "images": [_IMAGE]}, _CALL, _RESULT, _ANSWER],
        "tools": [_TOOL],
        "input_media": {"images": [_IMAGE], "videos": [], "audios": [], "files": []},
        "created_at": "2026-11-21T12:00:04Z",
    },
    {
        "run_id": "workflow",
        "workflow_id": "pipeline",
        "run_input": "weather Oslo",
        "content": "Done",
        "content_type": "str",
        "status": "COMPLETED",
        "metrics": {"steps": {"first": {"metrics": _USED}}},
        "step_results": [{"content": "Done", "step_name": "first", "step_run_id": "step", "success": True}],
        "step_executor_runs": [
            {
                "run_id": "step",
                "parent_run_id": "workflow",
                "agent_id": "helper",
                "input": {"input_content": "weather Oslo"},
                "messages": [{**_QUESTION, "id": "m7"}, {**_ANSWER, "id": "m8"}],
                "created_at": 1795262404,
            }
        ],
        "created_at": "2026-11-21T12:00:04Z",
    },
    {
        "run_id": "failed",
        "agent_id": "planner",
        "run_input": "[fail]",
        "content": "It broke",
        "status": "ERROR",
        "created_at": "2026-11-21T12:00:04Z",
    },
]
PREVIEWS: Json = [
    {
        "run_id": "team",
        "parent_run_id": "",
        "team_id": "crew",
        "status": "COMPLETED",
        "run_input": "weather Oslo",
        "content_preview": "It is warm",
        "created_at": "2026-11-21T12:00:04Z",
    }
]
ANSWERS: tuple[Json, ...] = (DETAIL, WORKFLOW, LIST, RUNS, PREVIEWS)
