"""The names that a program can import."""

from importlib import import_module

import pytest

import mcp_sessions
from mcp_sessions import SessionBackend, open_backend
from mcp_sessions.backends.backend_type import BackendType, OpenContext
from mcp_sessions.backends.options import BackendOptions
from mcp_sessions.backends.registry import BACKENDS
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, Unavailable
from mcp_sessions.models import SessionFilter


def test_every_public_name_can_be_imported() -> None:
    for name in mcp_sessions.__all__:
        assert getattr(mcp_sessions, name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        mcp_sessions.nonsense  # noqa: B018  asking is the test


def open_missing_module(url: str, options: BackendOptions, context: OpenContext) -> SessionBackend:
    return import_module("mcp_sessions_future").open(url)


def test_the_error_about_a_missing_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    future = BackendType(BackendOptions, open_missing_module, install_hint="pip install mcp-sessions[future]")
    monkeypatch.setitem(BACKENDS, "future", future)
    with pytest.raises(Invalid, match=r"this backend needs pip install mcp-sessions\[future\]"):
        open_backend("future://x")


def test_a_missing_module_of_the_package_is_not_reported_as_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "broken", BackendType(BackendOptions, open_missing_module))
    with pytest.raises(ModuleNotFoundError):
        open_backend("broken://x")


async def test_the_error_of_a_backend_that_was_not_entered_says_so() -> None:
    backend = open_backend()
    with pytest.raises(Unavailable, match="the store is closed"):
        await backend.list_sessions(SessionFilter())


async def test_a_backend_can_be_entered_again_after_it_was_left(tmp_path: object) -> None:
    backend = open_backend(f"sqlite:///{tmp_path}/sessions.db")
    async with backend:
        session = await backend.create_session(name="kept")
    async with backend:
        assert (await backend.get_session(session.id)).name == "kept"


async def test_a_minimal_backend_has_views_and_nothing_to_close() -> None:
    class Bare(SessionBackend):
        title = "a bare backend"

    async with Bare() as backend:
        caller = Caller(subject="ada")
        assert (backend.for_caller(caller).caller, backend.caller) == (caller, Caller())
        assert backend.deletion_notice().endswith("This can't be undone.")
