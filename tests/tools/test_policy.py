"""Rules that hold for every tool, and a snapshot of each, so that a changed description is reviewed."""

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import Tool

from mcp_sessions import Capability, SessionBackend, create_server, open_backend
from mcp_sessions.backends.base import REQUIRED
from mcp_sessions.caller import Scope
from mcp_sessions.server.tool_spec import SCOPES, ToolSpec, is_offered
from mcp_sessions.tools import DEFAULT_TOOLSETS, TOOLSETS
from tests.support.clients import ALL

SNAPSHOTS = Path(__file__).parent / "snapshots"
SPECS = [(toolset.name, spec) for toolset in TOOLSETS for spec in toolset.specs]
by_tool = pytest.mark.parametrize("spec", [spec for _, spec in SPECS], ids=lambda spec: spec.name)


async def offered(backend: SessionBackend | None = None, **options: Any) -> dict[str, Tool]:
    options.setdefault("toolsets", ALL)
    server = create_server(backend or open_backend(), **options)
    async with Client(server) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


def on_the_wire(*tools: Tool) -> list[dict[str, Any]]:
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


def length(*tools: Tool) -> int:
    return len(json.dumps(on_the_wire(*tools), ensure_ascii=False, separators=(",", ":")))


async def test_every_operation_has_exactly_one_tool() -> None:
    assert set(await offered()) == set(Capability)
    assert len(SPECS) <= 15
    for _, spec in SPECS:
        assert spec.requires == spec.name
        assert callable(getattr(SessionBackend, spec.name))


@by_tool
async def test_a_tool_equals_its_snapshot(spec: ToolSpec) -> None:
    (shown,) = on_the_wire((await offered())[spec.name])
    text = json.dumps(shown, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    path = SNAPSHOTS / f"{spec.name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_every_snapshot_belongs_to_a_tool() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*")} == {spec.name for _, spec in SPECS}


@by_tool
async def test_all_four_annotations_are_set_and_follow_from_the_effect(spec: ToolSpec) -> None:
    (shown,) = on_the_wire((await offered())[spec.name])
    hints = shown["annotations"]
    assert set(hints) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert hints["readOnlyHint"] == (spec.effect == "read")
    assert hints["destructiveHint"] == (spec.effect == "destroy")
    assert shown["title"] == spec.title


@by_tool
async def test_descriptions_are_short_and_parameters_have_no_union_types(spec: ToolSpec) -> None:
    tool = (await offered())[spec.name]
    assert tool.description == inspect.getdoc(spec.function)
    assert 20 <= len(tool.description or "") <= 250
    for word in ("anyOf", "oneOf", "allOf", "$ref", "$defs", '"title"', '"null"'):
        assert word not in json.dumps(tool.input_schema)
    assert tool.output_schema is None


async def test_a_parameter_has_the_same_type_and_description_in_every_tool() -> None:
    wordings: dict[str, set[str]] = {}
    for tool in (await offered()).values():
        for name, schema in tool.input_schema["properties"].items():
            wordings.setdefault(name, set()).add(json.dumps({"type": schema["type"]}))
            if name in ("session_id", "confirm", "expected_version", "cursor"):
                wordings[name].add(json.dumps(schema))
    assert {name: len(found) for name, found in wordings.items() if len(found) > 2} == {}
    assert len(wordings["session_id"]) == 2


@by_tool
def test_tools_that_return_stored_text_say_that_it_is_data(spec: ToolSpec) -> None:
    if spec.name in ("list_sessions", "search_sessions", "get_session_history", "get_session_runs"):
        assert "data" in (inspect.getdoc(spec.function) or "")


def undescribed(name: str, schema: dict[str, Any], *, optional: bool) -> list[str]:
    """Return the bounds and the default of a parameter that its description doesn't name, and of what it holds."""
    bounds = [schema[key] for key in ("minimum", "maximum", "minLength", "minItems", "maxItems") if key in schema]
    default = schema.get("default", False if optional and schema["type"] == "boolean" else "")
    facts = [str(bound) for bound in bounds] + ([] if default == "" else [str(default).lower()])
    words = re.findall(r"\w+", schema.get("description", ""))
    missing = [f"{name}: {fact}" for fact in facts if fact not in words]
    for child, inner in schema.get("items", {}).get("properties", {}).items():
        missing += undescribed(f"{name}[].{child}", inner, optional=False)
    return missing


@by_tool
async def test_descriptions_state_each_limit_and_default(spec: ToolSpec) -> None:
    """Some clients drop `default`, `minimum` and `maximum` from what they show a model."""
    schema = (await offered())[spec.name].input_schema
    for name, parameter in schema["properties"].items():
        assert undescribed(name, parameter, optional=name not in schema.get("required", ())) == []


def test_a_limit_or_default_that_is_not_described_is_reported() -> None:
    number = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "1-10"}
    assert undescribed("limit", number, optional=True) == ["limit: 100", "limit: 20"]
    assert undescribed("archived", {"type": "boolean"}, optional=True) == ["archived: false"]
    assert undescribed("order", {"type": "string", "default": "asc"}, optional=True) == ["order: asc"]
    messages = {
        "type": "array",
        "items": {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}},
    }
    assert undescribed("messages", messages, optional=False) == ["messages[].text: 1"]


async def test_the_tool_list_is_small() -> None:
    # Without the references to the page, which clients don't show to the model.
    assert length(*(await offered(toolsets=DEFAULT_TOOLSETS, apps=False)).values()) <= 8_000
    assert length(*(await offered(apps=False)).values()) <= 10_500


async def test_toolsets_read_only_and_capabilities_limit_the_offered_tools() -> None:
    default = await offered(toolsets=DEFAULT_TOOLSETS)
    assert set(default) == {spec.name for toolset, spec in SPECS if toolset in DEFAULT_TOOLSETS}
    assert set(await offered(toolsets=("history",))) == {"get_session_history", "get_session_runs"}
    assert set(await offered(read_only=True)) == {spec.name for _, spec in SPECS if spec.effect == "read"}

    class Reader(SessionBackend):
        title = "a reader"

    assert set(await offered(Reader())) == set(REQUIRED)


def test_the_required_scope_depends_on_the_effect() -> None:
    for _, spec in SPECS:
        for scope in Scope:
            allowed = is_offered(
                spec, "x", capabilities=set(Capability), toolsets={"x"}, read_only=False, scopes={scope}
            )
            assert allowed == (SCOPES[spec.effect] == scope)


@by_tool
def test_a_tool_is_a_thin_function(spec: ToolSpec) -> None:
    body = inspect.getsource(spec.function).partition('"""\n')[2]
    assert body.count("backend.") <= 2
    assert len(body.splitlines()) <= 12
    assert "try:" not in body
    assert inspect.iscoroutinefunction(spec.function)


async def test_parameters_that_the_server_fills_in_are_not_in_a_schema() -> None:
    for tool in (await offered()).values():
        hidden = {"backend", "target", "targets", "approved", "context", "user_id", "caller"}
        assert not hidden & set(tool.input_schema["properties"])
