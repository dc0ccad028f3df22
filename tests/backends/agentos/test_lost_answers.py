"""A change whose response is lost succeeds only if reading back shows it, and is never made twice."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_sessions.backends.agentos.backend import AgentOsBackend
from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.errors import SessionsError
from mcp_sessions.json_documents import JsonObject

from ...support.covering_pairs import capabilities_in, covering_pairs
from ...support.faked_agentos import faked, name_of, on_each_fake, session, writes
from ...support.fakes.agentos import Fault, Version

Operation = Callable[[SessionBackend], Awaitable[object]]
OPERATIONS: dict[str, tuple[str, Operation]] = {
    "rename_session": ("POST", lambda backend: backend.rename_session("s", "new")),
    "rename_session, to no name": ("POST", lambda backend: backend.rename_session("s", "")),
    "update_session_state": ("PATCH", lambda backend: backend.update_session_state("s", {"new": 1})),
    "update_session_state, all of it": (
        "PATCH",
        lambda backend: backend.update_session_state("s", {"new": 1}, mode="replace"),
    ),
    "update_session, metadata": ("PATCH", lambda backend: backend.update_session("s", metadata={"new": 1})),
    "update_session, summary": ("PATCH", lambda backend: backend.update_session("s", summary="new")),
    "archive_session": ("PATCH", lambda backend: backend.archive_session("s")),
    "restore_session": ("PATCH", lambda backend: backend.restore_session("old", name="new")),
    "delete_session": ("DELETE", lambda backend: backend.delete_session("s")),
    "create_session": (
        "POST",
        lambda backend: backend.create_session(name="new", agent_id="planner", state={"new": 1}),
    ),
}
"""The HTTP method of the request that makes the change, and the call. Each name begins with the capability."""

ONE_OF_EACH_KIND = ("rename_session", "update_session_state", "delete_session", "create_session")
"""A rename, which may become an update; an update; a deletion; and a creation, which is never repeated."""

ARCHIVED: JsonObject = {"metadata": {"archived_at": "2024-01-01T00:00:00Z"}}
SEEDS = (session("s", name="old", state={"kept": 1}, summary="old"), session("old", name="old", **ARCHIVED))
FAULTS: dict[str, tuple[Fault, str]] = {
    "dropped before": (Fault("drop"), ""),
    "dropped after": (Fault("drop", after=True), ""),
    "cut": (Fault("cut"), ""),
    "500 before": (Fault("answer", status=500), "unavailable"),
    "500 after": (Fault("answer", after=True, status=500), ""),
    "503 before": (Fault("answer", status=503), "unavailable"),
    "503 after": (Fault("answer", after=True, status=503), ""),
    "502 before": (Fault("answer", status=502), "outcome_unknown"),
    "502 after": (Fault("answer", after=True, status=502), ""),
    "504 before": (Fault("answer", status=504), "outcome_unknown"),
    "something else in a 200, after": (Fault("answer", after=True, status=200), ""),
    "something else in a 200, before": (Fault("answer", status=200), "bad_response"),
    "redirect before": (Fault("answer", status=302), "bad_response"),
    "redirect after": (Fault("answer", after=True, status=303), ""),
    "429": (Fault("answer", status=429, headers={"Retry-After": "100"}), "rate_limited"),
    "401": (Fault("answer", status=401), "unauthorized"),
    "403": (Fault("answer", status=403), "forbidden"),
    "422": (Fault("answer", status=422), "invalid"),
}

TYPICAL_FAULTS = ("dropped before", "cut", "500 before", "422")
"""The outcome is unknown; the change was made; the change was not made; the change was refused."""

WITHOUT_EFFECT = ("500 before", "503 before", "something else in a 200, before")
"""The faults after which a rename is known to have had no effect, so that an update is sent."""


on_each_version = pytest.mark.parametrize(
    ("version", "name"),
    [*(("3.1.10", name) for name in OPERATIONS), *(("2.5.6", name) for name in ONE_OF_EACH_KIND)],
)
"""Run with every operation on the newest version, and with one of each kind on the older one."""


async def outcome(operation: Operation, backend: SessionBackend) -> str:
    try:
        await operation(backend)
    except SessionsError as error:
        assert "\n" not in error.message
        return error.code
    return ""


def _expected(name: str, code: str) -> set[str]:
    """Return the expected results: a creation is never sent twice, a rename without effect becomes an update."""
    if name == "create_session" and code == "dropped before":
        return {"outcome_unknown"}
    if name.startswith("rename_session") and code in WITHOUT_EFFECT:
        return {""}
    return {FAULTS[code][1]}


NOT_A_SINGLE_CHANGE = {Capability.APPLY_TO_SESSIONS, Capability.FORK_SESSION}
"""The first is made of the others, the second has tests of its own below."""


def test_every_change_that_the_backend_declares_is_tried() -> None:
    reads = {capability for capability in Capability if capability.startswith(("list_", "get_", "search_"))}
    assert capabilities_in(OPERATIONS) == AgentOsBackend.capabilities - reads - NOT_A_SINGLE_CHANGE


@pytest.mark.parametrize(
    ("name", "fault"),
    covering_pairs(OPERATIONS, FAULTS, typical_operations=ONE_OF_EACH_KIND, typical_faults=TYPICAL_FAULTS),
)
async def test_a_change_succeeds_only_if_reading_back_shows_it(name: str, fault: str, tmp_path: Path) -> None:
    await _assert_succeeds_only_if_read_back("3.1.10", name, fault, tmp_path)


@pytest.mark.parametrize("fault", TYPICAL_FAULTS)
@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
async def test_a_change_on_an_older_agentos_succeeds_only_if_reading_back_shows_it(
    name: str, fault: str, tmp_path: Path
) -> None:
    await _assert_succeeds_only_if_read_back("2.5.6", name, fault, tmp_path)


async def _assert_succeeds_only_if_read_back(version: Version, name: str, fault: str, tmp_path: Path) -> None:
    method, operation = OPERATIONS[name]
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        before = fake.everything()
        befalling = fake.fail_next(replace(FAULTS[fault][0], method=method))
        code = await outcome(operation, backend)
        after = fake.everything()
        assert befalling not in fake.faults
        assert (after != before) == (code == "")
        assert code in _expected(name, fault)
        assert len(after) <= len(before) + 1
        assert len(writes(fake.requests)) <= 2


@on_each_version
async def test_a_change_that_is_acknowledged_but_not_made_is_a_bad_response(
    version: Version, name: str, tmp_path: Path
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        before, fake.does_nothing = fake.everything(), True
        assert await outcome(OPERATIONS[name][1], backend) == "bad_response"
        assert fake.everything() == before


@on_each_version
async def test_a_change_whose_response_is_not_json_is_read_back(version: Version, name: str, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        before, fake.garbles = fake.everything(), True
        assert await outcome(OPERATIONS[name][1], backend) == ""
        assert fake.everything() != before


@pytest.mark.parametrize("status", [None, 500])
@on_each_version
async def test_a_change_that_cannot_be_read_back_needs_a_response_that_shows_it(
    version: Version, name: str, status: int | None, tmp_path: Path
) -> None:
    method, operation = OPERATIONS[name]
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        fake.goes_blind = True
        if status:
            fake.fail_next(Fault("answer", after=True, method=method, status=status))
        shows_it = not status and name not in ("delete_session", "create_session")
        assert await outcome(operation, backend) == ("" if shows_it else "outcome_unknown")


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_error_about_a_change_that_timed_out_says_that_it_may_have_been_made(
    name: str, tmp_path: Path
) -> None:
    method, operation = OPERATIONS[name]
    async with faked("3.1.10", tmp_path, *SEEDS, seconds=1) as (fake, backend):
        before = fake.everything()
        fault = fake.fail_next(Fault("hold", method=method))
        assert await outcome(operation, backend) == "outcome_unknown"
        assert fake.everything() == before
        fault.released.set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
async def test_a_change_that_timed_out_is_read_back(name: str, tmp_path: Path) -> None:
    method, operation = OPERATIONS[name]
    async with faked("3.1.10", tmp_path, *SEEDS, seconds=2.5) as (fake, backend):  # a third is for reading back
        before = fake.everything()
        fault = fake.fail_next(Fault("hold", after=True, method=method))
        assert await outcome(operation, backend) == ""
        assert fake.everything() != before
        fault.released.set()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "create_session"])
async def test_a_change_that_cannot_be_prepared_in_time_is_a_timeout(name: str, tmp_path: Path) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS, seconds=0.3) as (fake, backend):
        before = fake.everything()
        fault = fake.fail_next(Fault("hold", method="GET"))
        assert await outcome(OPERATIONS[name][1], backend) == "timeout"
        assert fake.everything() == before
        fault.released.set()


FORKING: dict[str, tuple[Fault | None, str]] = {
    "answered": (None, ""),
    "dropped before": (Fault("drop"), "outcome_unknown"),
    "dropped after": (Fault("drop", after=True), "outcome_unknown"),
    "cut": (Fault("cut"), "outcome_unknown"),
    "500 before": (Fault("answer", status=500), "outcome_unknown"),
    "503 after": (Fault("answer", after=True, status=503), "outcome_unknown"),
    "something else in a 200": (Fault("answer", after=True, status=200), "outcome_unknown"),
    "429": (Fault("answer", status=429, headers={"Retry-After": "100"}), "rate_limited"),
    "404": (Fault("answer", status=404, detail="Agent not found"), "not_found"),
}


@pytest.mark.parametrize("fault", FORKING)
async def test_a_session_is_never_forked_twice(fault: str, tmp_path: Path) -> None:
    planned, expected = FORKING[fault]
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        if planned:
            fake.fail_next(replace(planned, path="/fork"))
        code = await outcome(lambda backend: backend.fork_session("s", name="new"), backend)
        assert code == expected
        assert len([request for request in fake.requests if request.path.endswith("/fork")]) == 1
        assert len(fake.everything()) <= len(SEEDS) + 1


async def test_a_fork_that_cannot_be_named_is_returned_with_a_note(tmp_path: Path) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        fake.fail_next(Fault("answer", status=403, method="POST", path="/rename"))
        found = await backend.fork_session("s", name="new")
        assert (found.name, found.id in fake.everything()) == ("old", True)
        assert "forbidden" in found.note


async def test_a_fork_that_cannot_be_read_is_not_reported_as_missing(tmp_path: Path) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        fake.goes_blind = True
        assert await outcome(lambda backend: backend.fork_session("s", name="new"), backend) == "outcome_unknown"
        assert len(fake.everything()) == len(SEEDS) + 1


@on_each_fake
async def test_nothing_is_changed_if_the_version_cannot_be_requested(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        fake.fail_next(Fault("answer", status=500, path="/info"))
        assert await outcome(OPERATIONS["rename_session"][1], backend) == "unavailable"
        assert await outcome(OPERATIONS["rename_session"][1], backend) == ""
        assert name_of(fake, "s") == "new"
