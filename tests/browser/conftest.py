"""One Chromium for all tests of the page, and pages of `mcp-sessions browse` on stores of made-up sessions."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from tests.support.fork_server import forked
from tests.support.webdriver import Browser, chromium

from .sample_sessions import fill

Open = Callable[..., str]


@pytest.fixture(scope="session")
def _chromium() -> Generator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(_chromium: Browser) -> Generator[Browser]:
    """Yield a wide, light window. Fail the test if anything was logged on its console, such as a refused request."""
    _chromium.open("about:blank")
    _chromium.resize(1200, 760)
    _chromium.prefer("light")
    _chromium.requested()
    _chromium.console()
    yield _chromium
    assert _chromium.console() == []


@pytest.fixture
def browse() -> Generator[Open]:
    """Yield a function that starts `mcp-sessions browse` on a store, and returns the URL it prints."""
    with ExitStack() as stack:

        def start(path: Path, *arguments: str) -> str:
            return stack.enter_context(browsing(path, *arguments))

        yield start


@pytest.fixture
def page(browser: Browser, browse: Open, path: Path) -> Browser:
    """Return the page of a store with made-up sessions, once the page shows them."""
    anyio.run(fill, path)
    browser.open(browse(path))
    browser.wait("document.querySelectorAll('.row').length > 5")
    return browser


@contextmanager
def browsing(path: Path, *arguments: str) -> Generator[str]:
    command = forked("-m", "mcp_sessions", "browse", "--backend", f"sqlite:///{path}", *arguments)
    without_display = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "BROWSER")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, env=without_display, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert "The link works once:" in process.stdout.readline()
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
