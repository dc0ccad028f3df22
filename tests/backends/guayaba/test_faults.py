"""After any fault of a response, every operation ends in time with a documented code, and sends nothing twice."""

import logging
from dataclasses import replace
from typing import Literal

import anyio
import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.guayaba.backend import GuayabaBackend
from mcp_sessions.errors import Forbidden
from mcp_sessions.models import SessionFilter

from ...support.covering_pairs import capabilities_in, covering_pairs
from ...support.faked_guayaba import (
    KEY,
    Operation,
    archived_id,
    assert_key_is_only_in_its_header,
    everything,
    faked,
    outcome,
    posts,
)
from ...support.fakes.guayaba import FakeGuayaba, Fault, html_page, limited, redirected, shaped

READS: dict[str, tuple[str, Operation]] = {
    "list_sessions": ("/sessions", lambda backend: backend.list_sessions(SessionFilter())),
    "list_sessions, archived": ("/archives", lambda backend: backend.list_sessions(SessionFilter(archived=True))),
    "get_session": ("/sessions", lambda backend: backend.get_session(KEY)),
    "get_session_history": ("/history", lambda backend: backend.get_session_history(KEY)),
    "search_sessions": ("/sessions", lambda backend: backend.search_sessions("where")),
}

"""A part of the request's path, and the call. Each name begins with the capability."""

TYPICAL_READS = ("list_sessions", "get_session_history")
"""A GET, and a POST that changes nothing."""


async def _restore(backend: SessionBackend) -> object:
    return await backend.restore_session(await archived_id(backend))


async def _restore_renamed(backend: SessionBackend) -> object:
    return await backend.restore_session(await archived_id(backend), name="New")


async def _delete_archived(backend: SessionBackend) -> object:
    return await backend.delete_session(await archived_id(backend))


CHANGES: dict[str, tuple[str, Operation]] = {
    "rename_session": ("/rename", lambda backend: backend.rename_session(KEY, "New")),
    "rename_session, to no name": ("/rename", lambda backend: backend.rename_session(KEY, "")),
    "archive_session": ("/sessions/archive", lambda backend: backend.archive_session(KEY)),
    "restore_session": ("/archives/restore", _restore),
    "restore_session, renamed": ("/archives/restore", _restore_renamed),
    "delete_session": ("/sessions/delete", lambda backend: backend.delete_session(KEY)),
    "delete_session, archived": ("/archives/delete", _delete_archived),
}

TYPICAL_CHANGES = ("rename_session", "archive_session")
"""A change of one field, and one that moves a session to another list."""


def _refusal(status: int, message: str = "No.") -> Fault:
    body = f'{{"error": "No", "message": "{message}"}}'.encode()
    return Fault("answer", status=status, body=body)


REFUSALS: dict[str, tuple[Fault, str]] = {
    "401": (_refusal(401, "Invalid or revoked API key"), "unauthorized"),
    "402": (_refusal(402), "forbidden"),
    "403 scope": (_refusal(403, "This API key lacks the required scope: agent:manage"), "forbidden"),
    "403 other agent": (_refusal(403, "This API key does not have access to this agent"), "forbidden"),
    "403 lapsed": (_refusal(403, "An active subscription is required to use the API"), "forbidden"),
    "403 page": (html_page(403), "forbidden"),
    "404": (_refusal(404), "not_found"),
    "409": (_refusal(409), "conflict"),
    "422": (_refusal(422), "invalid"),
    "429 seconds": (limited(100), "rate_limited"),
    "429 date": (limited(40_000, as_date=True), "rate_limited"),  # as of the start of all tests
}
OF_READS: dict[str, tuple[Fault, str]] = {
    **REFUSALS,
    "429 without a time, for ever": (limited(times=99), "rate_limited"),
    "500": (Fault("answer", status=500), "unavailable"),
    "502 burst": (Fault("answer", status=502, times=2), ""),
    "503 burst": (Fault("answer", status=503, times=2), ""),
    "503 for ever": (Fault("answer", status=503, times=99), "unavailable"),
    "500 page": (html_page(500), "unavailable"),
    "200 page": (html_page(200), "bad_response"),
    "shape": (shaped({"success": True}), "bad_response"),
    "shape of rows": (shaped([1, "two", None]), "bad_response"),
    "null": (shaped(None), "bad_response"),
    "redirect": (redirected("/login"), "bad_response"),
    "cut": (Fault("cut"), ""),
    "cut for ever": (Fault("cut", times=99), "unavailable"),
    "truncated": (Fault("truncated"), "bad_response"),
    "drop": (Fault("drop"), ""),
    "drop for ever": (Fault("drop", times=99), "unavailable"),
    "garbage for ever": (Fault("garbage", times=99), "unavailable"),
}
OF_CHANGES: dict[str, tuple[Fault, str]] = {
    **REFUSALS,
    "500 before": (Fault("answer", status=500), "unavailable"),
    "500 after": (Fault("answer", status=500, after=True), ""),
    "502 before": (Fault("answer", status=502), "outcome_unknown"),
    "502 after": (Fault("answer", status=502, after=True), ""),
    "503 before": (Fault("answer", status=503), "unavailable"),
    "503 page before": (html_page(503), "unavailable"),
    "503 page after": (html_page(503, after=True), ""),
    "504 page before": (html_page(504), "outcome_unknown"),
    "200 page before": (html_page(200), "bad_response"),
    "200 page after": (html_page(200, after=True), ""),
    "204 before": (Fault("answer", status=204), "bad_response"),
    "404 after": (Fault("answer", status=404, after=True), ""),
    "redirect before": (redirected("/login"), "bad_response"),
    "cut": (Fault("cut"), ""),
    "truncated": (Fault("truncated"), ""),
    "drop before": (Fault("drop"), "outcome_unknown"),
    "drop after": (Fault("drop", after=True), ""),
    "garbage": (Fault("garbage"), ""),
    "late": (Fault("late", later=50), "outcome_unknown"),
    "429, once": (limited(), ""),
    "429 with seconds, once": (limited(0), ""),
    "429 with a date, once": (limited(0, as_date=True), ""),
}
TYPICAL_FAULTS_OF_READS = ("403 scope", "503 burst", "truncated")
"""The read is refused; it succeeds when repeated; the response can't be read."""

TYPICAL_FAULTS_OF_CHANGES = ("403 scope", "500 before", "500 after", "drop before", "404 after")
"""The change is refused; it was not made; it was made; its outcome is unknown; it was made, though "not found"."""

RETRIED = ("429, once", "429 with seconds, once", "429 with a date, once")


def _fresh(fault: Fault, path: str) -> Fault:
    return replace(fault, path=path, entered=type(fault.entered)(), released=type(fault.released)())


def test_every_operation_that_the_backend_declares_is_tried() -> None:
    made_of_the_others = {Capability.APPLY_TO_SESSIONS}
    assert capabilities_in([*READS, *CHANGES]) == GuayabaBackend.capabilities - made_of_the_others


@pytest.mark.parametrize(
    ("name", "fault"),
    covering_pairs(READS, OF_READS, typical_operations=TYPICAL_READS, typical_faults=TYPICAL_FAULTS_OF_READS),
)
async def test_a_failed_read_is_retried_if_that_helps_and_has_its_error_code(
    name: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, operation = READS[name]
    planned, expected = OF_READS[fault]
    with caplog.at_level(logging.DEBUG):
        async with faked() as (fake, backend):
            before = everything(fake)
            fake.fail_next(_fresh(planned, path))
            with anyio.fail_after(10):
                assert await outcome(operation, backend) == expected
            assert (everything(fake), posts(fake)) == (before, [])
            assert len(fake.requests) <= 5
            _assert_key_is_kept(fake, caplog)


@pytest.mark.parametrize(
    ("name", "fault"),
    covering_pairs(CHANGES, OF_CHANGES, typical_operations=TYPICAL_CHANGES, typical_faults=TYPICAL_FAULTS_OF_CHANGES),
)
async def test_a_change_is_sent_once_and_succeeds_only_if_the_lists_show_it(
    name: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, operation = CHANGES[name]
    planned, expected = OF_CHANGES[fault]
    with caplog.at_level(logging.DEBUG):
        async with faked() as (fake, backend):
            before = everything(fake)
            befalling = fake.fail_next(_fresh(planned, path))
            with anyio.fail_after(10):
                assert await outcome(operation, backend) == expected
            assert befalling not in fake.faults
            assert (everything(fake) != before) == (expected == "")
            assert len(fake.sent_changes) == (2 if fault in RETRIED else 1)
            assert all(request.path.startswith(f"/api/v1/agents/{fake.agents[0].id}/") for request in fake.requests)
            _assert_key_is_kept(fake, caplog)


CANNOT_BE_LOOKED_FOR = ("429 seconds", "503 for ever", "401", "truncated")


@pytest.mark.parametrize(
    ("name", "fault"),
    covering_pairs(CHANGES, CANNOT_BE_LOOKED_FOR, typical_operations=["rename_session"], typical_faults=["401"]),
)
async def test_a_change_is_not_sent_if_its_session_cannot_be_looked_up(name: str, fault: str) -> None:
    planned, expected = OF_READS[fault]
    async with faked() as (fake, backend):
        before = everything(fake)
        for path in ("/sessions", "/archives"):
            fake.fail_next(_fresh(replace(planned, method="GET"), path))
        assert await outcome(CHANGES[name][1], backend) == expected
        assert (everything(fake), posts(fake)) == (before, [])


@pytest.mark.parametrize(
    ("name", "kind"),
    covering_pairs(READS, ("hold", "stall"), typical_operations=TYPICAL_READS, typical_faults=["hold"]),
)
async def test_a_slow_read_ends_in_time(name: str, kind: Literal["hold", "stall"]) -> None:
    path, operation = READS[name]
    async with faked(seconds=0.3) as (fake, backend):
        fault = fake.fail_next(Fault(kind, path=path, times=9))
        with anyio.fail_after(5):
            assert await outcome(operation, backend) == "timeout"
        fault.released.set()


@pytest.mark.parametrize("name", CHANGES)
async def test_the_outcome_of_a_change_that_timed_out_is_unknown(name: str) -> None:
    path, operation = CHANGES[name]
    async with faked(seconds=1) as (fake, backend):
        slow = fake.fail_next(Fault("hold", path=path))
        with anyio.fail_after(15):
            assert await outcome(operation, backend) == "outcome_unknown"
        assert len(fake.sent_changes) == 1
        slow.released.set()


@pytest.mark.slow
@pytest.mark.parametrize("slow", [Fault("hold", after=True), Fault("stall")], ids=["no answer", "half an answer"])
@pytest.mark.parametrize("name", TYPICAL_CHANGES)
async def test_a_change_that_timed_out_is_read_back(name: str, slow: Fault) -> None:
    path, operation = CHANGES[name]
    async with faked(seconds=2.5) as (fake, backend):  # a third is for reading back
        slow = fake.fail_next(_fresh(slow, path))
        with anyio.fail_after(15):
            assert await outcome(operation, backend) == ""
        assert len(fake.sent_changes) == 1
        slow.released.set()


@pytest.mark.parametrize("name", CHANGES)
async def test_the_outcome_of_a_change_that_cannot_be_read_back_is_unknown(name: str) -> None:
    path, operation = CHANGES[name]
    async with faked() as (fake, backend):
        before = everything(fake)
        slow = fake.fail_next(Fault("hold", path=path))
        codes: list[str] = []

        async def change() -> None:
            codes.append(await outcome(operation, backend))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(change)
                await slow.entered.wait()
                fake.fail_next(Fault("answer", method="GET", status=500, times=99))
                slow.released.set()
        assert codes == ["outcome_unknown"]
        assert (everything(fake) != before, len(fake.sent_changes)) == (True, 1)


async def test_an_error_names_the_missing_scope_and_no_other_part_of_the_response() -> None:
    async with faked() as (fake, backend):
        fake.fail_next(_refusal(403, "This API key lacks the required scope: agent:manage, said Eve"))
        with pytest.raises(Forbidden, match=r"lacks the scope agent:manage\. Create"):
            await backend.list_sessions(SessionFilter())
        fake.fail_next(_refusal(403, f"This API key lacks the required scope: agent:{'x' * 5000}"))
        with pytest.raises(Forbidden) as refused:
            await backend.list_sessions(SessionFilter())
        assert "xxx" not in str(refused.value)


def _assert_key_is_kept(fake: FakeGuayaba, caplog: pytest.LogCaptureFixture) -> None:
    token = fake.access.keys[-1].token
    assert_key_is_only_in_its_header(fake, token)
    assert token not in caplog.text
