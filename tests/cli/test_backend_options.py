"""Options of a backend, in its URL or by an older flag, and the error about a wrong one."""

from pathlib import Path

import pytest

from mcp_sessions.backends.sql import StoreOptions
from mcp_sessions.cli.main import main
from mcp_sessions.config.build import build_backend
from mcp_sessions.config.settings import Settings


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"ada": ["x"]}', 'accepts agents by their UUIDs, but "ada" has "x"'),
        ('{"": []}', "accepts no user with an empty id"),
        ('["ada"]', 'accepts a file such as {"ada": ["UUID"]}'),
        ("[" * 100_000, 'accepts a file such as {"ada": ["UUID"]}'),
        (None, "and this one can't be read (No such file or directory)"),
    ],
)
def test_the_error_about_a_wrong_agents_file_is_one_line_and_names_the_setting(
    content: str | None, problem: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agents"
    if content is not None:
        path.write_text(content)
    environ = {"MCP_SESSIONS_TOKEN": "key"}
    assert main(["serve", "--backend", "guayaba:", "--agents", str(path)], environ) == 2
    line = capfd.readouterr().err
    assert line.startswith("mcp-sessions: --agents can't be ")
    assert problem in line
    assert main(["serve", "--backend", f"guayaba:?agents={path}"], environ) == 2
    line = capfd.readouterr().err
    assert line.startswith("mcp-sessions: --backend: the option agents in the backend's URL can't be ")
    assert problem in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "flags", "line"),
    [
        (
            "sqlite:///x.db?keep_deleted=0",
            [],
            "the option keep_deleted in the backend's URL can't be \"0\": it accepts a ",
        ),
        (
            "sqlite:///x.db?recheck=off",
            [],
            'the backend\'s URL has no option "recheck". It accepts timeout,',
        ),
        ("sqlite:///x.db?timeout=1&timeout=2", [], "the backend's URL has the option timeout twice. Leave one out"),
        (
            "agentos+https://a.example?recheck=maybe",
            [],
            "the option recheck in the backend's URL can't be ",
        ),
        ("agentos+https://a.example?api_key=x&recheck=off", [], "the backend's URL contains a credential"),
        (
            "agentos+https://a.example?agent=x",
            [],
            'the backend\'s URL has no option "agent". It accepts timeout,',
        ),
        ("guayaba:?table=x", [], 'the backend\'s URL has no option "table". It accepts timeout,'),
        (
            "agentos+https://a.example?recheck=off",
            ["--recheck", "on"],
            "--recheck can't be given together with",
        ),
    ],
)
def test_the_error_about_a_wrong_backend_option_is_one_line_and_names_it(
    url: str, flags: list[str], line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--backend", url, *flags], {"MCP_SESSIONS_TOKEN": "key"}) == 2
    said = capfd.readouterr().err
    assert said.removeprefix("mcp-sessions: ").removeprefix("--backend: ").removeprefix("invalid: ").startswith(line)
    assert said.count("\n") == 1


def test_an_option_in_the_url_overrides_the_servers_timeout() -> None:
    settings = Settings.read({"backend": "sqlite:///x.db?timeout=3&keep_deleted=90", "timeout": "7"}, {})
    assert build_backend(settings).options == StoreOptions(timeout=3, keep_deleted=90)
    settings = Settings.read({"backend": "sqlite:///x.db", "timeout": "7", "keep_deleted": "4", "recheck": "off"}, {})
    assert build_backend(settings).options == StoreOptions(timeout=7, keep_deleted=4)
