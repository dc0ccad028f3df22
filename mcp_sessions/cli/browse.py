"""`mcp-sessions browse`: serve a page to look through the sessions, and open it in the browser."""

import os
import signal
import sys
import threading
import webbrowser
from dataclasses import replace

import anyio

from mcp_sessions.cli.refusals import first_error, refuse, refuse_backend
from mcp_sessions.config.backend_addresses import shown_backends
from mcp_sessions.config.build import build_backend, build_server
from mcp_sessions.config.settings import OVER_HTTP, SETTINGS, BadSetting, Settings
from mcp_sessions.errors import SessionsError
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.http.page import serve_page
from mcp_sessions.transports.http.server import listen

_MAX_CHARS = 400_000  # the largest that the setting accepts, since no model reads what the page shows


def run(settings: Settings) -> int:
    """Serve the page until a signal arrives or nobody uses it. Return the exit status."""
    settings = _for_page(settings)
    status = 0
    try:
        backend = build_backend(settings)
        server = build_server(backend, settings)
        print(f"mcp-sessions: sessions of {shown_backends(settings.backend)}", file=sys.stderr)
        with listen("127.0.0.1", 0, AccessRules()) as listener:
            ended_by = anyio.run(serve_page, server, listener, backend.check_reachable, _open_in_thread)
        status = 130 if ended_by == signal.SIGINT else 0
    except* BadSetting as errors:
        status = refuse(str(first_error(errors)))
    except* SessionsError as errors:
        status = refuse_backend(first_error(errors))
    except* KeyboardInterrupt:
        status = 130
    return status


def _for_page(settings: Settings) -> Settings:
    """Return the settings without those of serving over HTTP to others, which may be set in the environment."""
    defaults = Settings()
    unused = {name: getattr(defaults, name) for name, setting in SETTINGS.items() if setting.group == OVER_HTTP}
    # The page shows the question before a deletion, which the other ways to confirm would leave out.
    return replace(settings, **unused, transport="stdio", confirm="user", max_chars=_MAX_CHARS)


def _open_in_thread(url: str) -> None:
    threading.Thread(target=_open, args=[url], daemon=True).start()  # some browsers return only when they are closed


def _open(url: str) -> None:
    """Open the page in the browser. Print its URL where there is no browser with windows."""
    if _has_windows() and webbrowser.open(url):
        print("The page is open in your browser. It is served until Ctrl-C, or half an hour without use.", flush=True)
    else:
        print(f"Open this page in a browser on this machine. The link works once:\n{url}", flush=True)


def _has_windows() -> bool:
    """Return whether a browser can open a window; one in the terminal would show nothing, since it runs no scripts."""
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return has_display or sys.platform in ("darwin", "win32")
