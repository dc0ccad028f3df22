"""README's tables come from the code, and its commands from nowhere else."""

import os
import re
from pathlib import Path

from mcp_sessions.backends.base import Capability
from mcp_sessions.backends.registry import BACKENDS, open_backend
from mcp_sessions.config.settings import OPTIONS
from mcp_sessions.tools import DEFAULT_TOOLSETS, TOOLSETS

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = {
    "sqlite": "sqlite:///:memory:",
    "postgresql": "postgresql://sessions@db.example.org/sessions",
    "agentos+http": "agentos+http://127.0.0.1:7777",
    "agentos+https": "agentos+https://os.example.org",
    "guayaba": "guayaba:",
    "guayaba+http": "guayaba+http://127.0.0.1/api/v1",
    "guayaba+https": "guayaba+https://guayaba.example.org/api/v1",
}
EFFECTS = {"read": "reads", "write": "changes", "destroy": "deletes"}


def tools_table() -> str:
    rows = ["| toolset | tool | what it does | effect |", "| --- | --- | --- | --- |"]
    for toolset in TOOLSETS:
        for spec in toolset.specs:
            name = toolset.name if toolset.name in DEFAULT_TOOLSETS else f"{toolset.name} (not by default)"
            first = (spec.function.__doc__ or "").partition("\n")[0]
            rows.append(f"| {name} | `{spec.name}` | {first} | {EFFECTS[spec.effect]} |")
    return "\n".join(rows)


def settings_table() -> str:
    rows = ["| flag | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for option in OPTIONS.values():
        flag = f"`{option.flag} {option.metavar}`".replace("|", "\\|").replace(" `", "`") if option.flag else "(none)"
        rows.append(f"| {flag} | `{option.variable}` | {option.shown_default} | {option.help} |")
    return "\n".join(rows)


def backends_table() -> str:
    assert set(EXAMPLES) == set(BACKENDS)
    schemes: dict[str, list[str]] = {}
    for scheme, backend in BACKENDS.items():
        schemes.setdefault(backend.open.__name__, []).append(f"`{scheme}:`")
    opened = [open_backend(EXAMPLES[names[0].strip("`:")], token="key") for names in schemes.values()]
    rows = [
        f"| operation | {' | '.join(', '.join(names) for names in schemes.values())} |",
        "| --- |" + " --- |" * len(opened),
    ]
    for capability in Capability:
        marks = ["yes" if capability in backend.capabilities else "no" for backend in opened]
        rows.append(f"| `{capability}` | {' | '.join(marks)} |")
    return "\n".join(rows)


def test_the_tables_are_those_that_the_code_makes() -> None:
    text = README.read_text(encoding="utf-8")
    made = text
    for name, table in (("tools", tools_table()), ("settings", settings_table()), ("backends", backends_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        assert begin in text
        assert end in text
        made = re.sub(f"{begin}.*?{end}", lambda _, t=table, b=begin, e=end: f"{b}{t}\n{e}", made, flags=re.DOTALL)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        README.write_text(made, encoding="utf-8")
        text = made
    assert text == made


def test_no_line_is_longer_than_a_page_is_wide() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_the_error_that_readme_shows_is_one_the_store_gives() -> None:
    source = (README.parent / "mcp_sessions" / "backends" / "sql" / "sessions.py").read_text(encoding="utf-8")
    assert "Read it again with get_session, then repeat the change." in README.read_text(encoding="utf-8")
    assert "Read it again with get_session, then repeat the change." in source
