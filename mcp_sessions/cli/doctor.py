"""`mcp-sessions doctor`: check the settings and the backend without changing anything."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import anyio

from mcp_sessions import __version__
from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.health import CheckResult, Report, timeout_check
from mcp_sessions.backends.registry import LOCAL, local_agents
from mcp_sessions.cli.refusals import discard_stdout, refuse, refuse_backend
from mcp_sessions.config.backend_addresses import shown_backends
from mcp_sessions.config.build import build_backend, build_server, http_warnings, refuse_http_settings
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.config.unknown_variables import unknown_variables
from mcp_sessions.errors import SessionsError, quoted, replace_unprintable
from mcp_sessions.server.audit_log import STDERR
from mcp_sessions.server.sessions_server import SessionsServer


def run(settings: Settings) -> int:
    """Print a line for each check. Return 0 if all passed, 1 if one failed, 2 if no server could be started."""
    checks: list[CheckResult] = []
    stdout: Any = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # a file's name may not be encodable

    def report(check: CheckResult) -> None:
        if settings.read_only:
            check = check.if_read_only()
        checks.append(check)
        print(f"{check.status:<7}  {check.name}: {replace_unprintable(check.text).rstrip('.')}.", flush=True)

    try:
        backend = build_backend(settings)
        callers = _over_http(backend, settings) if settings.transport == "http" else _over_stdio(backend, settings)
        shown = shown_backends(settings.backend)
        print(f"mcp-sessions {__version__} checks {shown}, for {backend.options.timeout:g} s at most.", flush=True)
        for check in _of_settings(settings):
            report(check)
        anyio.run(_check, backend, settings, callers, report)
        if settings.overlay not in ("off", Settings().overlay) and not any(_is_of_overlay(check) for check in checks):
            report(CheckResult("overlay", "not needed, since the backend stores all fields itself"))
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        return refuse_backend(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return discard_stdout()
    return 1 if any(check.status == "failed" for check in checks) else 0


def _of_settings(settings: Settings) -> Iterator[CheckResult]:
    if LOCAL in settings.backend:
        found = ", ".join(local_agents()) or "no agents"
        yield CheckResult("local", f"{found} on this machine, and the embedded store")
    for text in unknown_variables(os.environ, settings):
        yield CheckResult("settings", text, "warning")


async def _check(backend: SessionBackend, settings: Settings, callers: Sequence[CheckResult], report: Report) -> None:
    try:
        with anyio.fail_after(backend.options.timeout + 1):  # longer than the backend's own timeout
            await backend.examine(report)
    except TimeoutError:
        report(timeout_check(backend.options.timeout))
    except SessionsError as error:
        report(CheckResult("backend", str(error), "failed"))
    else:
        report(CheckResult("operations", _operations(backend)))
    for check in [*callers, *_audit(settings.audit)]:
        report(check)
    if settings.transport == "http" and settings.jwt_jwks:
        report(await _issuer(settings))


def _is_of_overlay(check: CheckResult) -> bool:
    return check.name.rpartition(" ")[2] == "overlay"  # after the name of one of several backends


def _operations(backend: SessionBackend) -> str:
    lacking = [capability for capability in Capability if capability not in backend.capabilities]
    if not lacking:
        return f"all {len(Capability)}"
    return f"{len(backend.capabilities)} of {len(Capability)}, without {', '.join(lacking)}"


def _over_stdio(backend: SessionBackend, settings: Settings) -> Sequence[CheckResult]:
    refuse_http_settings(settings)
    tools = _tools(build_server(backend, settings))
    whose = f"the sessions of {quoted(settings.user)}" if settings.user else "everybody's sessions"
    return [tools, CheckResult("callers", f"the client that starts the server over stdio sees {whose}")]


def _tools(server: SessionsServer) -> CheckResult:
    return CheckResult("tools", f"{len(server.tool_names)} offered with these settings")


def _over_http(backend: SessionBackend, settings: Settings) -> Sequence[CheckResult]:
    from mcp_sessions.transports.auth.access import access_of
    from mcp_sessions.transports.http.server import address_of

    access = access_of(settings)
    authenticated = access.authentication is not None
    tools = _tools(build_server(backend, settings, authenticated=authenticated))
    address_of(settings.host, access)
    names = ", ".join(settings.allowed_host) or "this machine's own names"
    who = (
        "authenticated callers see their own" if authenticated else "anybody who can reach the server sees everybody's"
    )
    checks = [
        tools,
        CheckResult("address", f"{settings.host}, port {settings.port}, reached as {names}"),
        CheckResult("callers", f"{who} sessions"),
    ]
    checks += [CheckResult("callers", text, "warning") for text in http_warnings(settings, authenticated=authenticated)]
    return [*checks, _tokens(settings.tokens)] if settings.tokens else checks


def _tokens(path: str) -> CheckResult:
    from mcp_sessions.transports.auth.tokens import TokenFile

    tokens = TokenFile(path).check()
    usable = sum(token.expires is None or token.expires > datetime.now(UTC) for token in tokens)
    if not usable:
        return CheckResult("tokens", "no token is valid. Create one with mcp-sessions token new", "warning")
    return CheckResult("tokens", f"{usable:,} valid, {len(tokens) - usable:,} expired")


def _audit(path: str) -> Sequence[CheckResult]:
    if path in ("", STDERR):
        return ()
    file = Path(path)
    with suppress(OSError):
        if os.access(file if file.exists() else file.parent, os.W_OK) and not file.is_dir():
            return [CheckResult("audit", f"changes will be logged to {path}")]
    return [CheckResult("audit", f"{path} can't be written to. Set --audit to another file", "failed")]


async def _issuer(settings: Settings) -> CheckResult:
    from mcp_sessions.transports.auth.jwt import KeySet

    try:
        fits = await KeySet(settings.jwt_jwks).has_any(settings.jwt_algorithms)
    except SessionsError as error:
        return CheckResult("issuer", str(error), "failed")
    if not fits:
        algorithms = ", ".join(settings.jwt_algorithms)
        return CheckResult(
            "issuer", f"none of its public keys is for {algorithms}. Set --jwt-algorithms to others", "failed"
        )
    return CheckResult("issuer", "its public keys are available")
