"""`mcp-sessions browse`: where it opens the page, and how it ends."""

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from mcp_sessions.cli.main import main
from tests.support.fork_server import forked
from tests.support.http_calls import calls

DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")


@contextmanager
def browsing(path: Path, **variables: str) -> Generator["subprocess.Popen[str]"]:
    environment = {name: value for name, value in os.environ.items() if name not in DISPLAYS}
    command = forked("-m", "mcp_sessions", "browse", "--backend", f"sqlite:///{path}")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, env={**environment, **variables}, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_link_is_printed_where_there_is_no_browser_and_a_signal_ends_it(
    number: int, status: int, path: Path
) -> None:
    with browsing(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Open this page in a browser on this machine. The link works once:\n"
        link = process.stdout.readline()
        assert link.startswith("http://127.0.0.1:")
        assert len(link.partition("/#")[2]) >= 43
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (status, "")
        assert complained == f"mcp-sessions: sessions of sqlite:///{path}\n"


async def test_settings_for_serving_others_have_no_effect(path: Path) -> None:
    served = {"TRANSPORT": "http", "RATE": "1", "TOKENS": "/nowhere", "OWN_CREDENTIALS": "on", "CONFIRM": "off"}
    with browsing(path, **{f"MCP_SESSIONS_{name}": value for name, value in served.items()}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        root, _, token = process.stdout.readline().strip().partition("/#")
        exchange = {"Authorization": f"Bearer {token}"}
        answer = httpx2.post(f"{root}/token", headers=exchange, trust_env=False)
        async with calls(f"{root}/mcp", token=answer.json()["token"]) as page:
            created = await page.call("create_session", name="Garden")  # several calls, so the rate isn't limited
            asked = await page.result("delete_session", session_id=created["id"])
            assert asked["resultType"] == "input_required"
            assert [one["name"] for one in (await page.call("list_sessions"))["sessions"]] == ["Garden"]


def test_the_link_is_opened_in_the_browser(path: Path, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    with browsing(path, BROWSER=str(browser)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The page is open in your browser.")
        assert opened.read_text().startswith("http://127.0.0.1:")


@pytest.mark.parametrize("backend", ["nonsense:", "A=sqlite:///x"])
def test_a_backend_that_cannot_be_opened_is_named_in_one_line(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["browse", "--backend", backend], {}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mcp-sessions: --backend")
