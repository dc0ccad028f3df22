"""What hypothesis makes of the tools' own schemas, how many cases of it, and what every answer must be."""

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import anyio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from mcp.client import Client

from mcp_sessions.json_documents import Json, JsonObject, is_array

from ..support.clients import text_of
from ..tools.test_bad_input import nested
from .cases import CODES

CASES = int(os.environ.get("FUZZ_CASES", "2500"))
"""In all: how many calls of tools."""
CALLS = 50  # in one example, on a server of its own


def share(part: float) -> settings:
    """Return settings for this share of all cases. The cases are always the same, unless more are asked for."""
    return settings(
        max_examples=max(1, round(CASES * part / CALLS)),
        derandomize="FUZZ_CASES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


LEARNT = {
    "session_id": ("$session", "$session", "$session", "$archived"),
    "session_ids": ("$session", "$archived"),
    "up_to_message_id": ("", "$message"),
    "around": ("", "", "$message"),
    "message_id": ("", "", "$message"),
    "run_id": ("", "", "$run"),
    "cursor": ("", "", "$cursor"),
    "expected_version": ("", "", "$version"),
    "confirm": ("", "$code", "$code"),
    "type": ("", "", "agent", "team"),
    "agent_id": ("", "", "planner"),
    "state_path": ("", "", "/a", "/a/0"),
    "updated_after": ("", "", "2020-01-01"),
    "updated_before": ("", "", "2090-01-01"),
    "query": ("hello", "first", "what of"),
    "name": ("", "new", "first"),
}
"""What parameters fit beyond their schemas; words with `$` stand for what the server has told last."""
HOSTILE: list[Any] = [
    *("", " ", "\0", "\ud800", "\u202e", "\U000e0041", "🙂" * 300, "x" * 5_000),
    *("current", "*", "%", "'", '"', "\\", "/"),
    *("..", "%2e%2e/", "' OR ''='", "1 OR 1=1", "NEAR(", '"a" AND', "${x}", "{0}", "m1", "r1", "m0", "m99999999999"),
    *("2026-01-01", "2026-01-01T00:00:00+99:99", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "/a/~", "/~1"),
    *("eyJ9", "W10", "null", "[]", '{"a":1}', "NaN", "-1", "1e999", "true"),
    *(None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), [], [[]], {}, {"": None}, {"$ref": "#"}, nested(70)),
    {"a": "x" * 30_000},
    {str(number): {"b": [1, None, "é"]} for number in range(300)},
]
OBJECTS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def fitting(name: str, schema: JsonObject) -> st.SearchStrategy[Any]:
    """Return a strategy for values that a parameter accepts."""
    match schema:
        case {"enum": choices}:
            return st.sampled_from(choices)
        case {"type": "integer", "minimum": least, "maximum": most}:
            return st.integers(least, most)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "array", "items": items}:
            return st.lists(fitting(name, items), min_size=schema.get("minItems", 0), max_size=3)
        case {"type": "object", "properties": _}:
            whole: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(fits_of(schema))
            return whole
        case {"type": "object"}:
            return OBJECTS
        case _:
            usual = st.sampled_from(LEARNT.get(name, ("a", "hello")))
            return st.one_of(usual, usual, usual, usual, st.text(max_size=8))


def fits_of(schema: JsonObject) -> dict[str, st.SearchStrategy[Any]]:
    properties: dict[str, JsonObject] = schema["properties"]
    return {name: fitting(name, inner) for name, inner in properties.items()}


def calls_of(tool: str, schema: JsonObject) -> st.SearchStrategy[tuple[str, JsonObject]]:
    """Return a strategy for calls of a tool: most fit, some have one or two hostile arguments; few are malformed."""
    fits, hostile = fits_of(schema), st.sampled_from(HOSTILE)
    required: list[str] = schema.get("required", [])
    optional = {name: value for name, value in fits.items() if name not in required}
    sound: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
        {name: fits[name] for name in required}, optional=optional
    )
    strange: st.SearchStrategy[JsonObject] = st.dictionaries(
        st.sampled_from([*fits, *fits, *fits, "strange"]), hostile, max_size=2
    )
    mixed = st.builds(_merged, sound, strange)
    return st.tuples(st.just(tool), st.one_of(*[sound] * 6, *[mixed] * 3, strange))


def _merged(one: JsonObject, other: JsonObject) -> JsonObject:
    return one | other


class Caller:
    """Calls tools, and remembers what it is told, to say it again."""

    def __init__(self, client: Client, max_chars: int = 24_000) -> None:
        self._client = client
        self._max_chars = max_chars
        self._learnt: dict[str, str] = {}

    async def call(self, tool: str, arguments: JsonObject) -> None:
        """Call a tool. Check that it returns a documented result or error. The client checks the result's schema."""
        with anyio.fail_after(10):
            result = await self._client.call_tool(tool, {name: self._meant(arguments[name]) for name in arguments})
        text = text_of(result)
        if result.is_error:
            code, _, sentence = text.partition(": ")
            assert code in CODES, text
            assert sentence.isprintable(), text
            assert len(text) < 2_000
            self._learn("$code", re.findall('confirm="(.+?)"', text))
            return
        assert len(text) <= self._max_chars
        assert json.loads(text) == result.structured_content
        self._learn_from(json.loads(text))

    def _meant(self, value: Json) -> Json:
        if is_array(value):
            return [self._meant(item) for item in value]  # of sessions' ids
        return self._learnt.get(value, value) if isinstance(value, str) else value

    def _learn_from(self, result: JsonObject) -> None:
        sessions: list[JsonObject] = result.get("sessions", [])
        kinds = {"$archived": [each["id"] for each in sessions if "archived_at" in each]}
        kinds["$session"] = [each["id"] for each in sessions if "archived_at" not in each]
        for kind, field in (("$message", "messages"), ("$run", "runs")):
            rows: list[JsonObject] = result.get(field, [])
            kinds[kind] = [row["id"] for row in rows]
        kinds["$cursor"], kinds["$version"] = [result.get("next_cursor")], [result.get("version")]
        kinds["$session"] += [result.get("session_id")]
        for kind, known in kinds.items():
            self._learn(kind, [value for value in known if value])

    def _learn(self, kind: str, known: Sequence[str]) -> None:
        if known:
            self._learnt[kind] = known[0]
