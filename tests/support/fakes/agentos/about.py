"""The answers of AgentOS that show its version."""

from mcp_sessions.json_documents import JsonObject

from .system import System


def health() -> JsonObject:
    return {"status": "ok", "instantiated_at": "2026-01-01T00:00:00Z"}


def info(system: System) -> JsonObject:
    mcp: JsonObject = {"enabled": False, "path": None, "oauth": None, "tool_run_endpoint": False}
    return {
        "os_id": "os",
        "name": None,
        "os_version": "1.0.0",
        "agno_version": system.version,
        **{f"{kind}_count": len(components) for kind, components in system.components.items()},
        "mcp": mcp,
        "auth_mode": "security_key" if system.security_key else "none",
        "user_isolation": False,
    }


def description(*, newer: bool) -> JsonObject:
    """Return the OpenAPI document, without the parts that are the same in every version."""
    scope = ["user_id", "db_id", "table"]
    one, forks = "/sessions/{session_id}", "/{kind}s/{{{kind}_id}}/sessions/{{session_id}}/fork"
    paths: JsonObject = {
        "/sessions": {
            "get": _operation("type", *scope, newer=newer),
            "post": _operation("type", "db_id", newer=False),
            "delete": _operation(*scope, newer=newer),
        },
        one: {
            "get": _operation("session_id", "type", *scope, newer=newer),
            "patch": _operation("session_id", "type", *scope, newer=newer),
            "delete": _operation("session_id", *scope, newer=newer),
        },
        f"{one}/rename": {"post": _operation("session_id", "type", *scope, newer=newer)},
        f"{one}/runs": {"get": _operation("session_id", "type", *scope, newer=newer)},
        f"{one}/runs/{{run_id}}": {"get": _operation("session_id", "run_id", "type", *scope, newer=newer)},
    }
    if newer:
        paths[f"{one}/run-previews"] = {"get": _operation("session_id", "type", *scope, newer=newer)}
        for kind in ("agent", "team"):
            operation = _operation(f"{kind}_id", "session_id", "user_id", newer=newer)
            paths[forks.format(kind=kind)] = {"post": operation}
    return {"openapi": "3.1.0", "info": {"title": "Agno AgentOS", "version": "1.0.0"}, "paths": paths}


def _operation(*names: str, newer: bool) -> JsonObject:
    return {"parameters": [_parameter(name, newer=newer) for name in names]}


def _parameter(name: str, *, newer: bool) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    if name == "type":
        reference = {"$ref": "#/components/schemas/SessionType"}
        schema = {"anyOf": [reference, {"type": "null"}]} if newer else {**reference, "default": "agent"}
    placed = "path" if name.endswith("_id") and name not in ("user_id", "db_id") else "query"
    return {"name": name, "in": placed, "required": placed == "path", "schema": schema}
