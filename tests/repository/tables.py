"""Tables of the documentation that are made from the code, by the names of their markers: `<!-- NAME -->`."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from urllib.parse import quote

from mcp_sessions import errors
from mcp_sessions.backends.base import Capability
from mcp_sessions.backends.options import options_of
from mcp_sessions.backends.registry import BACKENDS, open_backend
from mcp_sessions.config.settings import SETTINGS
from mcp_sessions.errors import SessionsError
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    Attachment,
    BulkResult,
    Change,
    Failure,
    Message,
    MessagePage,
    Model,
    Run,
    RunPage,
    SearchHit,
    SearchPage,
    Session,
    SessionDetail,
    SessionPage,
    Target,
    ToolCall,
)
from mcp_sessions.server.call import SessionTool
from mcp_sessions.tools import DEFAULT_TOOLSETS, TOOLSETS

from .test_imports import RULES, SHARED, VOCABULARY

EXAMPLES = {
    "sqlite": "sqlite:///:memory:",
    "postgresql": "postgresql://sessions@db.example.org/sessions",
    "agentos+http": "agentos+http://127.0.0.1:7777",
    "agentos+https": "agentos+https://os.example.org",
    "claude-code": "claude-code:",
    "codex": f"codex:?command={quote(sys.executable)}",  # any program, since it is not started
    "guayaba": "guayaba:",
    "guayaba+http": "guayaba+http://127.0.0.1/api/v1",
    "guayaba+https": "guayaba+https://guayaba.example.org/api/v1",
    "opencode+http": "opencode+http://127.0.0.1:4096",
    "opencode+https": "opencode+https://opencode.example.org",
    "opencode": "opencode:?command=sh",
}
"""scheme → a URL that opens its backend."""

_EFFECTS = {"read": "reads", "write": "changes", "destroy": "deletes"}
_EMPTY = {"string": '""', "array": "[]", "object": "{}", "boolean": "false"}
_PAGES = (SessionPage, SessionDetail, MessagePage, RunPage, SearchPage, Change, BulkResult)
_ROWS = (Session, Message, ToolCall, Attachment, Run, SearchHit, Failure, Target)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def tools_table(page: Path) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for toolset in TOOLSETS:
            for spec in toolset.specs:
                name = toolset.name if toolset.name in DEFAULT_TOOLSETS else f"{toolset.name} (not by default)"
                first = (spec.function.__doc__ or "").partition("\n")[0]
                yield name, f"`{spec.name}`", first, _EFFECTS[spec.effect]

    return table(("toolset", "tool", "what it does", "effect"), rows())


def parameter_tables(page: Path) -> str:
    sections: list[str] = []
    for toolset in TOOLSETS:
        for spec in toolset.specs:
            tool = SessionTool.from_spec(spec)
            returned = signature(spec.function).return_annotation.__name__
            text = f"{' '.join((tool.description or '').split())} Returns `{returned}`."
            sections.append(f"### {spec.name}\n\n{text}\n\n{_parameters(tool.parameters)}")
    return "\n" + "\n\n".join(sections) + "\n"


def _parameters(schema: JsonObject) -> str:
    required: Sequence[str] = schema.get("required", ())

    def rows() -> Iterator[Sequence[str]]:
        for name, value in schema["properties"].items():
            default = json.dumps(value["default"]) if "default" in value else _EMPTY.get(value["type"], "")
            shown = "required" if name in required else f"`{default}`"
            yield f"`{name}`", _type_of(value), shown, value.get("description", "")

    return table(("parameter", "type", "default", "meaning"), rows())


def _type_of(schema: JsonObject) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] != "array":
        return schema["type"]
    items = schema["items"]
    fields = f" with {' and '.join(f'`{name}`' for name in items['properties'])}" if "properties" in items else ""
    return f"array of {_type_of(items)}{fields}"


def results_table(page: Path) -> str:
    def rows(models: Sequence[type[Model]]) -> Iterator[Sequence[str]]:
        for model in models:
            base = Session if model is SessionDetail else Model
            shown = [name for name, field in model.model_fields.items() if not field.exclude]
            own = [name for name in shown if name not in base.model_fields]
            fields = ", ".join(f"`{name}`" for name in own)
            meaning = " ".join((model.__doc__ or "").split())
            yield f"`{model.__name__}`", f"those of `Session`, {fields}" if base is Session else fields, meaning

    returned = table(("result", "fields", "meaning"), rows(_PAGES))
    return f"{returned}\n\nThe objects in these results:\n\n{table(('object', 'fields', 'meaning'), rows(_ROWS))}"


def errors_table(page: Path) -> str:
    meanings = dict(re.findall(r"── (\w+) +(.+)", errors.__doc__ or ""))
    codes = {
        error.__name__: error.code for error in SessionsError.__subclasses__() if error.__module__ == errors.__name__
    }
    assert set(codes) == set(meanings)
    return table(("code", "when"), ((f"`{codes[name]}`", meaning) for name, meaning in meanings.items()))


def settings_table(page: Path) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for option in SETTINGS.values():
            flag = f"`{option.flag} {option.metavar}`".replace(" `", "`") if option.flag else "(none)"
            yield flag, f"`{option.variable}`", option.shown_default, option.help

    return table(("flag", "variable", "default", "meaning"), rows())


def options_table(page: Path) -> str:
    backend = next(backend for scheme, backend in BACKENDS.items() if scheme.partition("+")[0] == page.stem)

    def rows() -> Iterator[Sequence[str]]:
        for name, option in options_of(backend.options).items():
            alias = SETTINGS.get(name)
            flag, shown = (f"`{alias.flag}`", alias.shown_default) if alias else ("", str(option.default or "none"))
            yield f"`{name}={option.metavar}`", flag, shown, option.help

    return table(("option", "flag", "default", "meaning"), rows())


def operations_table(page: Path) -> str:
    schemes: dict[str, list[str]] = {}
    for scheme, backend in BACKENDS.items():
        schemes.setdefault(backend.open.__name__, []).append(f"`{scheme}:`")
    opened = [open_backend(EXAMPLES[names[0].strip("`:")], token="key") for names in schemes.values()]

    def rows() -> Iterator[Sequence[str]]:
        for capability in Capability:
            marks = ["yes" if capability in backend.capabilities else "no" for backend in opened]
            yield f"`{capability}`", *marks

    return table(("operation", *(", ".join(names) for names in schemes.values())), rows())


def import_rules_table(page: Path) -> str:
    groups = {"vocabulary": VOCABULARY.split(), "shared": SHARED.split()}

    def allowed(rule: str) -> str:
        if rule == "anything":
            return "anything"
        names = rule.split()
        shown: list[str] = []
        for group, members in groups.items():
            if set(members) <= set(names):
                shown.append(f"*{group}*")
                names = [name for name in names if name not in members]
        return ", ".join([*shown, *(f"`{name}`" for name in names)]) or "nothing"

    named = "\n".join(f"* *{group}*: {', '.join(f'`{name}`' for name in members)}" for group, members in groups.items())
    return f"{named}\n\n{table(('part', 'may import'), ((f'`{part}`', allowed(rule)) for part, rule in RULES.items()))}"


TABLES: Mapping[str, Callable[[Path], str]] = {
    "tools": tools_table,
    "parameters": parameter_tables,
    "results": results_table,
    "errors": errors_table,
    "settings": settings_table,
    "options": options_table,
    "backends": operations_table,
    "imports": import_rules_table,
}
