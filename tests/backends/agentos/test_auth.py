"""Credentials for real AgentOS servers: none, a security key, and tokens that each lack a scope."""

from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Forbidden, NotFound, Unauthorized
from mcp_sessions.models import SessionFilter

from ...support.real_agentos import JWT_KEY, opened, session, signed
from ...support.servers.agentos_process import SECURITY_KEY, VERSIONS, Version

Call = Callable[[SessionBackend], Awaitable[object]]
READS: tuple[Call, ...] = (
    lambda backend: backend.list_sessions(SessionFilter()),
    lambda backend: backend.get_session("s"),
    lambda backend: backend.get_session_history("s"),
    lambda backend: backend.get_session_runs("s"),
)
WRITES: tuple[Call, ...] = (
    lambda backend: backend.rename_session("s", "New"),
    lambda backend: backend.update_session_state("s", {"a": 1}),
    lambda backend: backend.archive_session("s"),
    lambda backend: backend.create_session(name="New"),
)
DELETIONS: tuple[Call, ...] = (lambda backend: backend.delete_session("s"),)
SCOPES = ("sessions:read", "sessions:write", "sessions:delete")

on_each = pytest.mark.parametrize("version", VERSIONS)


def token(*scopes: str, **claims: object) -> str:
    return signed({"sub": "ann", "scopes": list(scopes), "exp": 4_000_000_000, **claims})


def isolation_in(version: Version) -> tuple[str, ...]:
    """Return the server's option for isolating users, which 2.5.6 always does."""
    return ("--user-isolation",) if version == "3.1.10" else ()


@on_each
async def test_an_open_server_needs_no_credential(version: Version) -> None:
    async with opened(version, seeds=[session("s")]) as case:
        for call in (*READS, *WRITES, *DELETIONS):
            await call(case.backend)


@on_each
async def test_the_security_key_opens_all_operations(version: Version) -> None:
    async with opened(version, security_key=SECURITY_KEY, token=SECURITY_KEY, seeds=[session("s")]) as case:
        for call in (*READS, *WRITES, *DELETIONS):
            await call(case.backend)


@on_each
@pytest.mark.parametrize("wrong", ["", "another-key"])
async def test_a_missing_or_wrong_key_is_unauthorized(version: Version, wrong: str) -> None:
    async with opened(version, security_key=SECURITY_KEY, token=wrong, seeds=[session("s")]) as case:
        for call in (*READS, *WRITES, *DELETIONS):
            with pytest.raises(Unauthorized) as caught:
                await call(case.backend)
            assert SECURITY_KEY not in caught.value.text
        assert list((await case.server.rows())["agno_sessions"]) == ["s"]


@on_each
async def test_a_token_with_every_scope_opens_all_operations(version: Version) -> None:
    async with opened(version, "--jwt", JWT_KEY, token=token(*SCOPES), seeds=[session("s", user_id="ann")]) as case:
        for call in (*READS, *WRITES, *DELETIONS):
            await call(case.backend)


@on_each
@pytest.mark.parametrize(
    ("missing", "refused", "allowed"),
    [
        ("sessions:read", (*READS, *WRITES[:3], *DELETIONS), ()),
        ("sessions:write", WRITES, (*READS, *DELETIONS)),
        ("sessions:delete", DELETIONS, (*READS, *WRITES)),
    ],
    ids=SCOPES,
)
async def test_an_operation_without_its_scope_is_forbidden_and_changes_nothing(
    version: Version, missing: str, refused: tuple[Call, ...], allowed: tuple[Call, ...]
) -> None:
    given = token(*(scope for scope in SCOPES if scope != missing))
    async with opened(version, "--jwt", JWT_KEY, token=given, seeds=[session("s", user_id="ann")]) as case:
        before = await case.server.rows()
        for call in refused:
            with pytest.raises(Forbidden):
                await call(case.backend)
        assert await case.server.rows() == before
        for call in allowed:
            await call(case.backend)


@on_each
@pytest.mark.parametrize("bad", ["no-token", token(*SCOPES, exp=1)], ids=["garbled", "expired"])
async def test_an_invalid_token_is_unauthorized(version: Version, bad: str) -> None:
    async with opened(version, "--jwt", JWT_KEY, token=bad, seeds=[session("s", user_id="ann")]) as case:
        with pytest.raises(Unauthorized):
            await case.backend.list_sessions(SessionFilter())


@on_each
async def test_a_session_hidden_by_user_isolation_is_not_found(version: Version) -> None:
    seeds = [session("mine", user_id="ann"), session("s", user_id="ben")]
    async with opened(version, "--jwt", JWT_KEY, *isolation_in(version), token=token(*SCOPES), seeds=seeds) as case:
        assert [item.id for item in (await case.backend.list_sessions(SessionFilter())).sessions] == ["mine"]
        before = await case.server.rows()
        for call in (*READS[1:], *WRITES[:3], *DELETIONS):
            with pytest.raises(NotFound):
                await call(case.backend)
        assert await case.server.rows() == before


@on_each
async def test_callers_with_their_own_tokens_see_only_their_own_sessions(version: Version) -> None:
    tokens = {user: token(*SCOPES, sub=user) for user in ("ann", "ben")}
    seeds = [session(f"{user}-{place}", "team", user_id=user) for user in tokens for place in range(4)]
    async with opened(version, "--jwt", JWT_KEY, *isolation_in(version), seeds=seeds) as case:

        async def work(backend: SessionBackend, user: str, other: str) -> None:
            own = {f"{user}-{place}" for place in range(4)}
            assert {item.id for item in (await backend.list_sessions(SessionFilter())).sessions} == own
            for session_id in own:
                assert (await backend.update_session_state(session_id, {"by": user})).changed["state"] == {"by": user}
                assert (await backend.get_session_history(session_id)).messages
                with pytest.raises(NotFound):
                    await backend.get_session(session_id.replace(user, other))

        with TemporaryDirectory() as folder:
            async with (
                open_backend(case.server.backend_url, callers_have_credentials=True, data_folder=folder) as backend,
                anyio.create_task_group() as tasks,
            ):
                await backend.check_reachable()
                for _ in range(3):
                    for user, other in (("ann", "ben"), ("ben", "ann")):
                        view = backend.for_caller(Caller(user_id=user, credential=tokens[user]))
                        tasks.start_soon(work, view, user, other)
        with pytest.raises(Unauthorized):
            await case.backend.list_sessions(SessionFilter())
