"""A conversation with AgentOS that meets every route and oddity of it that the fake has."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from mcp_sessions.json_documents import JsonObject

from ..servers.agentos_process import SECURITY_KEY

START = 1_700_000_000


class Ask(NamedTuple):
    """`{name}` in a path stands for what an earlier answer was asked to keep."""

    method: str
    path: str
    body: str = ""
    keep: str = ""
    """Keep the id of a new session, or of the first run, under this name."""
    authorization: str = ""


@dataclass(frozen=True)
class RealRun:
    """A run that is in flight while these are asked."""

    session_id: str
    type: str
    meanwhile: tuple[Ask, ...]


def get(path: str, keep: str = "") -> Ask:
    return Ask("GET", path, keep=keep)


def post(path: str, keep: str = "", **fields: object) -> Ask:
    return Ask("POST", path, json.dumps(fields), keep)


def patch(path: str, **fields: object) -> Ask:
    return Ask("PATCH", path, json.dumps(fields))


def delete(path: str, **fields: object) -> Ask:
    return Ask("DELETE", path, json.dumps(fields) if fields else "")


_TALK = [
    [
        {"role": "system", "text": "Be brief."},
        {"role": "user", "text": "Hello é"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "name": "look", "arguments": '{"a":1}'}]},
        {"role": "tool", "text": "found", "tool_name": "look", "tool_call_id": "c1"},
        {"role": "assistant", "text": "There"},
    ],
    [{"role": "user", "text": "More " * 100}, {"role": "assistant", "text": "Much " * 100}],
]
_MEDIA = [
    {"type": "image", "media_type": "image/png", "bytes": 4},
    {"type": "audio", "media_type": "audio/mpeg", "bytes": 4},
    {"type": "video", "media_type": "video/mp4", "bytes": 4},
    {"type": "file", "media_type": "text/plain", "bytes": 4},
    {"type": "file", "media_type": "application/pdf", "url": "https://example.org/a.pdf"},
    {"type": "image", "media_type": "", "url": "https://example.org/a.png"},
]


def _seed(session_id: str, type: str = "agent", moment: int = 0, **given: object) -> JsonObject:
    component = {"agent": "planner", "team": "crew", "workflow": "pipeline"}[type]
    described: JsonObject = {"session_id": session_id, "type": type, "component_id": component}
    return described | {"created_at": START + moment, **given}


SEEDS = [
    _seed("agent", user_id="ann", name="Zürich", state={"a": 1}, metadata={"k": "v"}, summary="Short", runs=_TALK),
    _seed("team", "team", user_id="ann", runs=_TALK),
    _seed("flow", "workflow", user_id="bob", state={"planner": 1}, runs=_TALK),
    _seed("bare", component_id=None),
    _seed("same-second", moment=5),
    _seed("same-second-too", moment=5, user_id="ann"),
    _seed("same-second-flow", "workflow", moment=5),
    _seed("media", moment=9, runs=[[{"role": "user", "text": "See", "attachments": _MEDIA}]]),
    _seed("silent-team", "team", moment=2, metadata={"archived_at": "2026-01-01T00:00:00Z"}),
    _seed("wrong-agent", moment=-1, name="A", summary="Mine", runs=_TALK),
    _seed("wrong-team", "team", moment=-2, runs=_TALK),
    _seed("wrong-flow", "workflow", moment=-3, runs=_TALK),
    _seed("wrong-flow-too", "workflow", moment=-4, runs=_TALK),
    _seed("poisoned", moment=-9),
    _seed("no-component", moment=-8, component_id=None, runs=_TALK),
]
OTHER_TABLE_SEEDS = [
    _seed("agent", other_table=True, name="Another's", runs=_TALK),
    _seed("elsewhere", other_table=True, runs=_TALK),
]

_TYPES = ("agent", "team", "workflow")
_READS = [
    get(f"/sessions/{session_id}{rest}{query}")
    for session_id in ("agent", "team", "flow", "bare", "media", "silent-team", "wrong-agent", "no-component")
    for rest in ("", "/runs", "/run-previews")
    for query in ("", *(f"?type={type}" for type in _TYPES))
]
_LISTS = [
    *(get(f"/sessions?type={type}&sort_order={order}") for type in _TYPES for order in ("asc", "desc")),
    *(get(f"/sessions?sort_by={key}") for key in ("created_at", "updated_at", "user_id", "session_id", "bogus", "")),
    *(get(f"/sessions?limit=2&page={page}&sort_by=updated_at&sort_order=asc") for page in (0, 1, 2, 3, 9)),
    get("/sessions?limit=100&sort_order=asc"),
    *(get(f"/sessions?user_id={user}") for user in ("ann", "bob", "nobody", "")),
    *(get(f"/sessions?component_id={component}&limit=5") for component in ("planner", "crew", "pipeline", "")),
    get("/sessions?component_id=crew&type=team&user_id=ann"),
    *(get(f"/sessions?session_name={text}") for text in ("z", "Z%C3%BC", "PLANNER", "%25", "s_ss", "%22", "")),
    get("/sessions?limit=0"),
    get("/sessions?limit=x&page=-1&type=agents&sort_order=up&limit=y"),
    get("/sessions/?limit=1"),
]
_ADDRESSES = [
    *(get(f"/sessions/{id}") for id in ("nope", "a%2Fb", "agent%2Fruns", "%00", "%ff", "%2E%2E", "%2E", "agent%0A")),
    *(get(f"/sessions/{id}?type=team") for id in ("nope", "agent/")),
    *(get(path) for path in ("/nope", "/sessions//runs", "/sessions/agent/nope", "/sessions/agent/runs/x/y")),
    Ask("PUT", "/sessions/agent", "{}"),
    Ask("POST", "/sessions/agent", "{}"),
    *(get(f"/sessions/{id}/{rest}?user_id=carl") for id in ("agent", "bare") for rest in ("", "runs")),
    *(get(f"/sessions/{id}?user_id=") for id in ("agent", "bare")),
    get("/sessions/nope/runs"),
    get("/sessions/agent/runs", keep="run"),
    *(get(f"/sessions/{id}/runs/{run}") for id in ("agent", "bare", "nope") for run in ("{run}", "nope")),
    get("/sessions/flow/runs", keep="run"),
    get("/sessions/flow/runs/{run}"),
    get("/sessions/team/runs?type=team", keep="run"),
    get("/sessions/team/runs/{run}?type=agent&user_id=ann"),
    *(get(f"/sessions/agent/runs?created_{when}={START + 1}") for when in ("after", "before")),
    *(get(f"/sessions/agent/run-previews?status={status}") for status in ("completed", "ERROR", "odd&status=b")),
    *(get(f"/sessions/agent/runs?status={status}") for status in ("completed", "ERROR", "odd&status=b")),
    *(get(f"/sessions{rest}?{query}") for rest in ("", "/agent") for query in ("db_id=no", "table=no", "db_id=main")),
    *(get(f"/sessions{rest}?db_id=main&table=agno_{name}") for rest in ("", "/agent") for name in ("x", "sessions")),
]
_REFUSED = [
    *(Ask("POST", "/sessions/agent/rename", body) for body in ("", "{}", "[1]", '{"session_name": null}', "{", '{"a"')),
    Ask("POST", "/sessions/agent/rename", '{"session_name": 5}'),
    Ask("POST", "/sessions/agent/rename?type=x", "{}"),
    *(Ask("PATCH", "/sessions/agent", body) for body in ("", "[1]", '"a"', "null")),
    patch("/sessions/agent", session_name=5, session_state=[1], metadata="x", summary=1),
    *(patch("/sessions/agent", summary=summary) for summary in ({}, {"x": 1}, {"summary": "a", "updated_at": 5})),
    patch("/sessions/agent", summary={"summary": "a", "updated_at": "x"}),
    patch("/sessions/nope", session_name="x"),
    patch("/sessions/agent?user_id=carl", session_name="x"),
    post("/sessions/nope/rename", session_name="x"),
    delete("/sessions"),
    delete("/sessions", session_ids=[], session_types=["x"]),
    delete("/sessions", session_ids=["agent", "bare"], session_types=["agent"]),
    Ask("PATCH", "/sessions/agent", '{"session_state": ' + '{"a": ' * 2000 + "1" + "}" * 2001),
    get("/sessions/agent"),
]
_CHANGES = [
    post("/sessions/agent/rename", session_name="  x\ny "),
    post("/sessions/agent/rename", session_name=""),
    get("/sessions/agent"),
    patch("/sessions/agent", session_state={"b": {"c": None}}, metadata={"m": [1, "é"]}, session_name="New"),
    patch("/sessions/agent", session_state=None, metadata=None, session_name=None, archived=True),
    patch("/sessions/agent", session_state={}, metadata={}),
    patch("/sessions/agent"),
    patch("/sessions/agent", metadata={"agno_dispatch_depth": 1, "kept": 2}),
    patch("/sessions/agent", metadata={"agno_dispatch_depth": 1}),
    patch("/sessions/agent", summary={"summary": 5, "topics": "abc", "updated_at": "2024-01-01T00:00:00"}),
    Ask("PATCH", "/sessions/agent", '{"session_state": {"n": NaN, "i": [Infinity]}}'),
    get("/sessions/agent"),
    patch("/sessions/team?type=team", session_state={"a": 1}, summary={"summary": "s", "topics": ["t"]}),
    patch("/sessions/flow?type=workflow", session_name="F", metadata={"a": 1}, summary={"summary": "s"}),
    *(get(f"/sessions/{id}{rest}?type={type}") for id, type in (("team", "team"), ("flow", "workflow"))
      for rest in ("", "/runs")),
    patch("/sessions/bare?type=agent", metadata={"a": 1}),
    get("/sessions?limit=50&sort_order=asc"),
]  # fmt: skip
_WRONG_TYPES = [
    change
    for id in ("wrong-agent", "wrong-team", "wrong-flow", "wrong-flow-too", "no-component")
    for wrong in ("team", "agent", "workflow")
    if (id, wrong) != ("no-component", "workflow")
    for change in (
        patch(f"/sessions/{id}?type={wrong}", metadata={"a": wrong}),
        get(f"/sessions/{id}/runs?type=workflow"),
        *(get(f"/sessions/{id}?type={type}") for type in _TYPES),
    )
] + [post("/sessions/flow/rename", session_name="x"), get("/sessions/flow/runs?type=workflow")]
_NEW_AND_GONE = [
    post("/sessions", keep="new"),
    get("/sessions/{new}"),
    Ask("POST", "/sessions", "", keep="new"),
    *(post(f"/sessions?type={type}", keep="new", session_name="N", session_state={"a": 1}, user_id="ann",
           agent_id="planner", team_id="crew", workflow_id="pipeline", metadata={}) for type in _TYPES),
    get("/sessions/{new}?type=workflow"),
    post("/sessions", session_id="", session_name="", keep="new"),
    post("/sessions", session_id="a/b", agent_id="c/3"),
    post("/sessions", session_id="media"),
    post("/sessions", session_id="team", user_id="zoe"),
    post("/sessions?type=team", session_id="team", user_id="ann", session_name="Again"),
    *(get(f"/sessions/{id}/runs?type=agent") for id in ("media", "team")),
    post("/sessions?type=x&db_id=no", session_id=1, session_state=[]),
    post("/sessions?db_id=no"),
    post("/agents/nope/sessions/agent/fork"),
    post("/agents/helper/sessions/agent/fork"),
    post("/workflows/pipeline/sessions/flow/fork"),
    *(post(f"/agents/planner/sessions/{id}/fork") for id in ("nope", "bare", "no-component")),
    post("/agents/planner/sessions/agent/fork?user_id=carl"),
    *(ask for path in ("agents/planner/sessions/agent", "teams/crew/sessions/agent", "agents/planner/sessions/team")
      for ask in (post(f"/{path}/fork", keep="new"), get("/sessions/{new}"), get("/sessions/{new}/runs"))),
    delete("/sessions/nope"),
    delete("/sessions/agent?user_id=carl"),
    get("/sessions/agent"),
    delete("/sessions/agent?user_id=ann"),
    *(get(path) for path in ("/sessions/agent", "/sessions/agent/runs")),
    delete("/sessions", session_ids=["bare", "nope", "flow"], session_types=["team", "agent", "agent"]),
    delete("/sessions?user_id=carl", session_ids=["same-second-too", "media"], session_types=["agent", "agent"]),
    *(get(f"/sessions?limit=50&sort_by=nothing{type}") for type in ("", "&type=workflow", "&type=team")),
]  # fmt: skip
_DEEP = '{"session_state": ' + '{"a": ' * 290 + "1" + "}" * 291
_POISON = [
    ask
    for body in ('{"session_name": "\\ud800"}', '{"session_name": "x", "session_state": {"\\udfff": 1}}', _DEEP)
    for ask in (
        Ask("PATCH", "/sessions/poisoned", body),
        get("/sessions/poisoned"),
        get("/sessions?limit=100"),
        get("/sessions?limit=2&type=team"),
        patch("/sessions/poisoned", session_name="healed", session_state={}),
        get("/sessions/poisoned"),
    )
]
_ABOUT = [get("/info"), get("/nope")]
_GIVEN: list[JsonObject] = [{}, {"session_state": {}}, {"session_name": ""}, {"metadata": {"a": 1}}]
_WITHOUT_DATA = [
    ask
    for type in _TYPES
    for given in _GIVEN
    for ask in (
        post(f"/sessions?type={type}", keep="new", **given),
        *(get(f"/sessions/{{new}}?type={asked}") for asked in _TYPES),
        post(f"/sessions/{{new}}/rename?type={type}", session_name="First"),
        get(f"/sessions/{{new}}?type={type}"),
        patch(f"/sessions/{{new}}?type={type}", session_name="Second"),
        post(f"/sessions/{{new}}/rename?type={type}", session_name="Third"),
        get(f"/sessions/{{new}}?type={type}"),
    )
]

CONVERSATIONS: dict[str, list[Ask]] = {
    "reads": _READS,
    "lists": _LISTS,
    "addresses": _ADDRESSES,
    "refusals": _REFUSED,
    "changes": _CHANGES,
    "wrong types": _WRONG_TYPES,
    "new and gone": _NEW_AND_GONE,
    "poison": _POISON,
    "about": _ABOUT,
    "without data": _WITHOUT_DATA,
}

_IN_OTHER = "?db_id=main&table=other_sessions"
TWO_TABLE_CONVERSATION = [
    get("/sessions?limit=1"),
    get(f"/sessions{_IN_OTHER}"),
    get(f"/sessions/elsewhere{_IN_OTHER}"),
    get("/sessions/elsewhere"),
    get(f"/sessions/elsewhere/runs{_IN_OTHER}", keep="run"),
    get(f"/sessions/elsewhere/runs/{{run}}{_IN_OTHER}"),
    patch(f"/sessions/agent{_IN_OTHER}", session_name="Whose?"),
    patch(f"/sessions/elsewhere{_IN_OTHER}", session_name="Whose?"),
    post(f"/sessions/elsewhere/rename{_IN_OTHER}", session_name="Renamed"),
    get("/sessions/agent"),
    get(f"/sessions/agent{_IN_OTHER}"),
    *(post(f"/agents/{agent}/sessions/elsewhere/fork") for agent in ("planner", "archivist")),
    delete(f"/sessions/agent{_IN_OTHER}"),
    get(f"/sessions?limit=1&{_IN_OTHER[1:]}&type=agent"),
]

WITH_A_KEY = [
    get("/sessions/x")._replace(authorization=given)
    for given in (
        *("", f"Bearer {SECURITY_KEY}", f"bearer {SECURITY_KEY}", "Bearer wrong"),
        *(SECURITY_KEY, "wrong", f"Basic {SECURITY_KEY}", "Bearer"),
    )
]

IN_FLIGHT = [
    RealRun(
        session_id,
        type,
        (
            post(f"/sessions/{session_id}/rename?type={type}", session_name="Meanwhile"),
            patch(f"/sessions/{session_id}?type={type}", session_state={"meanwhile": 1}, metadata={"meanwhile": 1}),
            get(f"/sessions/{session_id}?type={type}"),
            get(f"/sessions/{session_id}/runs?type={type}"),
        ),
    )
    for session_id, type in (("agent", "agent"), ("team", "team"))
]
