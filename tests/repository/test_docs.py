"""The documentation agrees with the code: its tables, links, and the files, names and settings that it mentions."""

import ast
import os
import re
from pathlib import Path

import pytest

from mcp_sessions.backends.registry import BACKENDS
from mcp_sessions.config.settings import SETTINGS

from .documents import PAGES, ROOT, anchors_of, blocks_of, name_of, prose_of, text_of
from .tables import EXAMPLES, TABLES

on_each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
README = ROOT / "README.md"
COMMAND_FLAGS = {"--from", "--to", "--subject", "--scopes", "--expires", "--apply", "--rebuild", "--help", "--version"}
BENCHMARK_FLAGS = {"--sessions", "--plot"}
TEST_VARIABLES = {
    f"MCP_SESSIONS_{system}"
    for system in ("AGENTOS", "BROWSER", "CLAUDE_CODE", "CODEX", "CONTRACT", "OPENCODE", "PEERS", "POSTGRES")
}


def renewed(page: Path) -> str:
    """Return the page's text with its tables made anew."""
    text = text_of(page)
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin in text:
            made = f"{begin}{make(page)}\n{end}"
            text = re.sub(f"{begin}.*?{end}", lambda _, made=made: made, text, flags=re.DOTALL)
    return text


@on_each_page
def test_the_tables_equal_those_generated_from_the_code(page: Path) -> None:
    made = renewed(page)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        page.write_text(made, encoding="utf-8")
    assert text_of(page) == made


def test_every_table_is_in_the_documentation() -> None:
    texts = "".join(map(text_of, PAGES))
    assert [name for name in TABLES if f"<!-- {name} -->" not in texts] == []


def test_every_backend_has_an_example_a_page_and_its_options() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "backends").iterdir()}
    assert set(EXAMPLES) == set(BACKENDS)
    assert pages == {scheme.partition("+")[0] for scheme in BACKENDS}
    assert all("<!-- options -->" in text_of(ROOT / "docs" / "backends" / f"{page}.md") for page in pages)


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


@on_each_page
def test_no_line_is_longer_than_120_characters(page: Path) -> None:
    text = re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", "", text_of(page), flags=re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@on_each_page
def test_every_link_leads_to_an_existing_page_and_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors_of(linked), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {README}
    waiting = [README]
    while waiting:
        page = waiting.pop()
        linked = {(page.parent / path).resolve() for path in re.findall(r"\]\(([^)#\s]+\.md)", prose_of(page))}
        waiting += linked - reached
        reached |= linked
    assert set(PAGES) <= reached


@on_each_page
def test_every_file_in_the_documentation_exists(page: Path) -> None:
    named = re.findall(r"`((?:mcp_sessions|tests|examples|docs|scripts|\.ci)/[\w./-]+)", text_of(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


@on_each_page
def test_every_setting_in_the_documentation_exists(page: Path) -> None:
    flags = set(re.findall(r"`(--[a-z-]+)", prose_of(page)))
    variables = set(re.findall(r"\bMCP_SESSIONS_[A-Z_]+\b", text_of(page)))
    assert flags <= {option.flag for option in SETTINGS.values()} | COMMAND_FLAGS | BENCHMARK_FLAGS
    variables -= {"MCP_SESSIONS_TOKEN_WORK", "MCP_SESSIONS_TOKEN_OLD"}  # of backends with these names
    assert variables <= {option.variable for option in SETTINGS.values()} | TEST_VARIABLES


def names_in(path: Path) -> set[str]:
    """Return the functions and classes of a module, and the methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_the_steps_of_a_call_name_existing_functions_and_files() -> None:
    text = text_of(ROOT / "docs" / "architecture.md")
    tables = re.findall(r"<!-- steps -->\n(.*?)<!-- /steps -->", text, re.DOTALL)
    rows = [re.fullmatch(r"\| \S+ \| `(\S+)` \| `(\S+)` \| .* \|", line) for line in "".join(tables).splitlines()]
    steps = [row.groups() for row in rows if row]
    assert len(tables) == 9
    assert len(steps) == sum(table.count("\n") - 2 for table in tables) - 1  # one leads to the backends
    assert [(path, name) for path, name in steps if name not in names_in(ROOT / path)] == []


@on_each_page
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    assert {language for language, _ in blocks_of(page)} <= {"", "sh", "json", "python", "mermaid"}


def test_python_blocks_are_quoted_from_files() -> None:
    files = [*ROOT.glob("mcp_sessions/**/*.py"), *ROOT.glob("examples/*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    quotes = [block for page in PAGES for language, block in blocks_of(page) if language == "python"]
    assert quotes
    assert [quote for quote in quotes if not any(quote in source for source in sources)] == []


def test_the_numbers_of_the_readme_are_those_of_the_benchmarks() -> None:
    section = text_of(README).partition("## Numbers")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert rows
    assert set(rows) <= set(text_of(ROOT / "docs" / "benchmarks.md").splitlines())


def test_the_error_in_the_readme_is_one_of_the_store() -> None:
    source = (ROOT / "mcp_sessions" / "backends" / "validation.py").read_text(encoding="utf-8")
    assert "Read it again with get_session, then repeat the change." in text_of(README)
    assert "Read it again with get_session, then repeat the change." in source
