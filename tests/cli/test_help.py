"""The output of `--help`, and the warning about unknown variables."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_sessions.cli.main import main
from mcp_sessions.config.settings import SETTINGS


@pytest.mark.parametrize("command", [[], ["serve"], ["doctor"], ["config"]])
def test_help_has_every_setting_once_in_a_narrow_terminal(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"], {})
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    lines = [line.split(maxsplit=1)[0] for line in shown.splitlines() if line.strip()]
    for option in SETTINGS.values():
        assert lines.count(option.flag or option.variable) == 1
    assert [line for line in shown.splitlines() if line.startswith("settings, ")] == [
        *("settings, general:", "settings, tools:", "settings, backend:", "settings, over HTTP:"),
    ]
    assert max(map(len, shown.splitlines())) < 80


def test_help_begins_with_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"], {})
    shown = capsys.readouterr().out
    places = [
        shown.index(f"\n    {name} ") for name in ("serve", "demo", "browse", "doctor", "config", "copy", "token")
    ]
    assert places == sorted(places)
    assert places[-1] < shown.index("settings, general")


def test_browse_has_no_settings_of_serving_over_http(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["browse", "--tokens", "FILE"], {})
    assert ended.value.code == 2
    assert "unrecognized arguments: --tokens" in capsys.readouterr().err


def test_help_of_copy_says_how_to_pass_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["copy", "--help"], {})
    assert "Use PGPASSWORD or ~/.pgpass" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_unknown_variables_are_reported_with_the_nearest_setting(tmp_path: Path) -> None:
    nearest = {"TIMOUT": "TIMEOUT", "ALLOWED_HOSTS": "ALLOWED_HOST", "USER_ID": "USER"}
    environ = {f"MCP_SESSIONS_{name}": "hunter2" for name in (*nearest, "AGENTOS")}  # the last is the tests' own
    done = subprocess.run(
        [sys.executable, "-m", "mcp_sessions"],
        env={**environ, "XDG_DATA_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    said = [line.split(" ", 1) for line in done.stderr.splitlines()]
    assert [what for _, what in said] == [
        f"WARNING mcp_sessions.cli.main: MCP_SESSIONS_{name} is not a setting and has no effect; "
        "the most similar setting is "
        f"MCP_SESSIONS_{known}"
        for name, known in nearest.items()
    ]
    assert all(datetime.fromisoformat(when) <= datetime.now(UTC) for when, _ in said)
