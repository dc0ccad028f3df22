"""Who may import whom (the table in the design), and how long a file may be."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mcp_sessions"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILES = sorted([*MODULES, *Path(__file__).parent.rglob("*.py")])

FOUNDATION = {"errors", "models", "cursor", "caller"}
TOOL_SIDE = {
    *("context", "confirmation", "toolset", "schema", "arguments", "render", "budget", "pruning", "sanitize"),
    "list_changes",
}
MANY = {"identity", "rate", "seal", "audit"}
ALLOWED = {
    "errors": set[str](),
    "accepted": set[str](),
    "settings": {"accepted"},
    "command_line": {"", "errors", "settings"},
    "configured": {"audit", "backends", "models", "server", "settings", "transports"},
    "redact": set[str](),
    "sanitize": {"redact"},
    "models": {"errors"},
    "cursor": {"errors"},
    "caller": {"errors"},
    "backends.base": {"errors", "models", "caller"},
    "backends": {"errors", "backends.base", "backends._environment"},
    "pruning": {"models", "errors"},
    "budget": {"models", "errors", "cursor", "pruning"},
    "schema": {"models"},
    "arguments": {"errors", "models"},
    "identity": {"caller", "errors", "mcp"},
    "rate": {"errors"},
    "seal": {"errors"},
    "audit": {"errors", "models", "mcp"},
    "context": {"audit", "backends.base", "caller", "errors", "identity", "rate", "seal", "mcp"},
    "render": {"budget", "context", "models", "pruning", "seal", "mcp"},
    "confirmation": {"context", "errors", "models", "mcp"},
    "toolset": {"audit", "errors", "models", "caller", "backends.base", "mcp"} | TOOL_SIDE,
    "list_changes": {"mcp"},
    "prompts": {"context", "errors", "mcp"},
    "resources": {"backends.base", "mcp"} | FOUNDATION | TOOL_SIDE,
    "server": {"", "backends.base", "prompts", "resources", "tools", "mcp"} | FOUNDATION | TOOL_SIDE | MANY,
}
"""module → what of ours, and whether the SDK, it may import; tools, transports and backends by folder below."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def allowed_for(name: str) -> set[str]:
    folder, _, rest = name.partition(".")
    if folder == "backends" and rest not in ("", "base"):
        # One concrete backend never imports another; what several need has a name that begins with _.
        shared = {name_of(path) for path in (PACKAGE / "backends").glob("_[a-z]*.py")}
        own = set[str]() if rest.startswith("_") else {f"backends.{rest.partition('.')[0]}", "backends.base"}
        return FOUNDATION | {"sanitize"} | shared | own
    if name.split(".")[0] == "tools":
        return {"models", "errors", "cursor", "backends.base", "context", "confirmation", "toolset", "tools"}
    if name.split(".")[0] == "transports":
        return {"server", "caller", "identity", "settings", "errors", "models", "transports", "mcp"}
    return ALLOWED[name]


def imported_by(path: Path) -> set[str]:
    """Modules of ours as dotted names inside the package, and `mcp` for the SDK."""
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
            if top == "mcp_sessions":
                found.add(rest)
            elif top in ("mcp", "mcp_types"):
                found.add("mcp")
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def is_within(name: str, allowed: set[str]) -> bool:
    return any(name == item or (item and name.startswith(item + ".")) for item in allowed)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_the_design_allows(path: Path) -> None:
    name = name_of(path)
    if name.partition(".")[0] in ("", "__main__", "cli", "commands"):
        return  # these may import everything
    allowed = allowed_for(name)
    assert {item for item in imported_by(path) if not is_within(item, allowed)} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_imports_the_command_line(path: Path) -> None:
    if name_of(path).partition(".")[0] not in ("__main__", "cli", "commands"):
        assert not {item for item in imported_by(path) if item.partition(".")[0] in ("cli", "commands")}


def test_the_rule_sees_an_import_that_is_not_allowed() -> None:
    assert imported_by(PACKAGE / "server.py") >= {"backends.base", "mcp", "tools"}
    assert not is_within("mcp", allowed_for("backends.sql.sqlite"))
    assert not is_within("backends.sql", allowed_for("tools.sessions"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
