"""Which part of the package may import which, and how long a file may be.

`RULES` is the source of the table in docs/architecture.md.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mcp_sessions"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILES = sorted([*MODULES, *(ROOT / "tests").rglob("*.py")])

VOCABULARY = "errors models caller cursors json_documents sqlite_url"
SHARED = (
    "backends.base backends.backend_type backends.options backends.environment backends.health backends.deadline "
    "backends.validation backends.paging backends.file_locks backends.session_locks backends.write_access "
    "backends.gather backends.telemetry backends.flag_errors backends.session_updates backends.transcript_feed "
    "backends.project_filter backends.filesystems"
)
ANY_BACKEND = f"{VOCABULARY} text {SHARED} backends.scan_search backends.http"
RULES = {
    "errors": "",
    "models": "errors json_documents",
    "json_documents": "errors",
    "caller": "errors",
    "cursors": "errors",
    "sqlite_url": "",
    "text": "errors",
    "backends.backend_names": "",
    "backends.transcript_feed": "models",
    "backends.capability": "",
    "backends.base": f"{VOCABULARY} text backends.bulk backends.capability backends.feeds backends.health "
    "backends.options backends.environment backends.transcript_feed backends.validation",
    "backends.bulk": "errors models",
    "backends.feeds": "models json_documents",
    "backends.backend_type": "backends.base backends.environment backends.options",
    "backends.options": "errors",
    "backends.deadline": "",
    "backends.health": "",
    "backends.validation": f"{VOCABULARY} text",
    "backends.paging": VOCABULARY,
    "backends.project_filter": f"{VOCABULARY} text",
    "backends.file_locks": "errors",
    "backends.filesystems": "",
    "backends.session_locks": "backends.file_locks backends.write_access",
    "backends.write_access": "",
    "backends.flag_errors": "errors",
    "backends.session_updates": f"{VOCABULARY} text backends.validation",
    "backends.gather": "",
    "backends.telemetry": "errors",
    "backends.scan_search": f"{VOCABULARY} text {SHARED}",
    "backends.read_all": f"{VOCABULARY} text {SHARED}",
    "backends.session_content": f"{VOCABULARY} text {SHARED}",
    "backends.session_copy": f"{VOCABULARY} text {SHARED} backends.session_content",
    "backends.environment": "",
    "backends.registry": "errors backends.base backends.backend_type backends.options backends.environment "
    "backends.agentos backends.claude_code backends.codex backends.guayaba backends.opencode backends.sql",
    # What reads transcripts knows no coding agent, so that each agent's backend can use it.
    "backends.transcripts": f"{VOCABULARY} text {SHARED} backends.scan_search",
    "backends.http": f"{VOCABULARY} backends.base backends.backend_type backends.options "
    "backends.deadline backends.telemetry",
    "backends.database": f"{VOCABULARY} text {SHARED}",
    # `backends.feeds`: `Many` merges the changes of its members in the same way as those of one backend are merged.
    "backends.layers": f"{VOCABULARY} text {SHARED} backends.feeds backends.backend_names",
    # `backends.database`: the index and the overlay have databases of their own.
    "backends.layers.index": f"{VOCABULARY} text {SHARED} backends.layers backends.capability backends.database",
    "backends.layers.overlay": f"{VOCABULARY} text {SHARED} backends.layers backends.capability backends.database",
    "backends.sql": f"{VOCABULARY} text {SHARED} backends.database",
    "backends.agentos": ANY_BACKEND,
    "backends.guayaba": ANY_BACKEND,
    "backends.claude_code": f"{VOCABULARY} text {SHARED} backends.scan_search backends.transcripts",
    "backends.codex": f"{VOCABULARY} text {SHARED} backends.scan_search backends.transcripts",
    "backends.opencode": f"{ANY_BACKEND} backends.transcripts",
    "output": f"{VOCABULARY} text mcp",
    "tools": f"{VOCABULARY} text backends.base server.context server.confirmation server.tool_spec",
    # `backends.layers`: `create_server` accepts several backends.
    "server": f"{VOCABULARY} text output tools pages backends.base backends.layers backends.telemetry mcp",
    "pages": "",
    "transports.auth": f"{VOCABULARY} server.identity config.settings mcp",
    "transports.frames": f"{VOCABULARY} server mcp",
    "transports.stdio": f"{VOCABULARY} server transports.frames mcp",
    "transports.http": f"{VOCABULARY} server pages config.settings transports.auth transports.frames mcp",
    "config": f"{VOCABULARY} server backends.base backends.capability backends.options backends.registry "
    "backends.backend_names backends.flag_errors backends.layers",
    "cli": "anything",
}
"""part → the parts that it may import; `mcp` is the SDK. A part may always import itself. The longest name that fits
decides.

One system's backend never imports another's, and only `cli` knows all parts.
"""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def rule_for(name: str) -> str:
    return max((part for part in RULES if is_within(name, {part})), key=len)


def imported_by(path: Path) -> set[str]:
    """Return modules of ours as dotted names inside the package, and `mcp` for the SDK."""
    found: set[str] = set()
    package = ["mcp_sessions", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
            names = [name for name in names[1:] if is_module(name)] or names[:1]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "mcp_sessions" and rest:
                found.add(rest)
            elif top in ("mcp", "mcp_types"):
                found.add("mcp")
    return found


@cache
def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def is_within(name: str, parts: set[str]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)


@cache
def imports() -> dict[str, set[str]]:
    return {name_of(path): imported_by(path) for path in MODULES}


def forbidden(name: str, imported: set[str]) -> set[str]:
    if name in ("", "__main__", "transports"):  # the package's own front door
        return set()
    if name == "backends":
        return imported
    rule = rule_for(name)
    allowed = {rule, *RULES[rule].split()}
    return set() if "anything" in allowed else {item for item in imported if not is_within(item, allowed)}


def test_modules_import_only_what_the_rules_allow() -> None:
    wrong = {name: forbidden(name, imported) for name, imported in imports().items()}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_only_the_command_line_imports_the_command_line() -> None:
    others = [name for name in imports() if name.partition(".")[0] not in ("__main__", "cli")]
    assert [name for name in others if any(is_within(item, {"cli"}) for item in imports()[name])] == []


def test_the_rules_detect_an_import_that_is_not_allowed() -> None:
    assert imports()["server.sessions_server"] >= {"backends.base", "mcp", "tools"}
    assert forbidden("backends.database.sqlite", {"errors", "mcp"}) == {"mcp"}
    assert forbidden("tools.sessions", {"backends.sql"}) == {"backends.sql"}


def test_no_file_is_longer_than_300_lines() -> None:
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 300] == []
