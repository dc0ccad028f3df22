"""`Many` while one of its backends is down, slow, broken or not open: the others answer, and a note names it."""

import anyio
import anyio.lowlevel
import pytest

from mcp_sessions.backends.deadline import time_limit
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, SessionsError, Timeout, Unavailable
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import BulkResult, SearchPage, SessionDetail, SessionFilter

from .faulty import LONG, SHORT, Fault, FaultyBackend, pair

ALL = SessionFilter()
faults = pytest.mark.parametrize("fault", ["dead", "hanging", "broken", "blocking"])


@faults
async def test_a_backend_that_fails_is_named_and_the_others_are_shown(fault: Fault) -> None:
    async with pair() as (many, bare, work):
        session = await bare.create_session(name="Trip to Rome")
        await work.inner.create_session(name="Rome")
        work.faults.now = fault
        page = await many.list_sessions(ALL)
        assert [shown.id for shown in page.sessions] == [session.id]
        assert (page.total, page.next_cursor) == (None, "")
        assert page.note.startswith("The sessions of work (the embedded store) are missing: ")
        assert "secret" not in page.note
        work.faults.release.set()
        found = await many.search_sessions("rome")
        if fault != "blocking":
            assert [hit.session_id for hit in found.hits] == [session.id]
            assert not found.complete
            assert found.note.startswith("The sessions of work")
        await many.check_reachable()


@faults
async def test_a_call_on_a_session_of_another_backend_does_not_wait(fault: Fault) -> None:
    async with pair(seconds=LONG) as (many, bare, work):
        session = await bare.create_session(name="Trip")
        work.faults.now = fault
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(many.list_sessions, ALL)
            await anyio.wait_all_tasks_blocked()
            assert (await many.get_session(session.id)).name == "Trip"
            tasks.cancel_scope.cancel()


async def test_a_call_that_is_cancelled_leaves_nothing_running() -> None:
    async with pair(seconds=LONG) as (many, _, work):
        work.faults.now = "hanging"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(many.list_sessions, ALL)
            await anyio.wait_all_tasks_blocked()
            assert work.faults.running == 1
            tasks.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert work.faults.running == 0


async def test_a_call_on_a_session_of_the_backend_that_fails_gets_its_error() -> None:
    async with pair() as (many, _, work):
        work.faults.now = "dead"
        with pytest.raises(Unavailable, match=r"^work \(the embedded store\): it is down"):
            await many.get_session("work/5")


async def test_if_all_fail_the_call_fails_with_the_first_error() -> None:
    first = FaultyBackend(open_backend(timeout=SHORT), now="dead")
    second = FaultyBackend(open_backend(timeout=SHORT), now="hanging")
    async with Many({"one": first, "two": second}) as many:
        for _ in range(2):  # the second time, both are left out after their failure
            with pytest.raises(Unavailable, match="it is down"):
                await many.list_sessions(ALL)
        with pytest.raises(Unavailable):
            await many.check_reachable()


async def test_a_backend_that_failed_is_not_asked_again_at_once_but_its_sessions_can_be_reached() -> None:
    async with pair() as (many, _, work):
        session = await work.inner.create_session(name="Trip")
        work.faults.now = "hanging"
        assert (await many.list_sessions(ALL)).note
        work.faults.now = ""
        assert "did not answer" in (await many.list_sessions(ALL)).note
        assert work.faults.calls == 1
        await many.get_session(f"work/{session.id}")
        page = await many.list_sessions(ALL)
        assert ([shown.name for shown in page.sessions], page.note) == (["Trip"], "")


@pytest.mark.parametrize("at_start", ["dead", "broken", "hanging"])
async def test_a_backend_that_cannot_be_opened_does_not_keep_the_others_from_serving(at_start: Fault) -> None:
    async with pair(at_start=at_start) as (many, bare, _):
        session = await bare.create_session(name="Trip")
        page = await many.list_sessions(ALL)
        assert [shown.id for shown in page.sessions] == [session.id]
        assert page.note.startswith("The sessions of work")
        assert (await many.get_session(session.id)).name == "Trip"
        with pytest.raises(SessionsError):
            await many.get_session("work/5")


async def test_a_backend_is_opened_again_once_a_call_needs_it() -> None:
    async with pair(at_start="dead") as (many, _, work):
        assert (await many.list_sessions(ALL)).note
        work.faults.at_start = ""
        with pytest.raises(NotFound):
            await many.get_session("work/5")
        assert work.faults.is_open
        assert (await many.list_sessions(ALL)).note == ""


async def test_the_start_fails_with_the_first_error_if_no_backend_can_be_opened() -> None:
    first = FaultyBackend(open_backend(timeout=SHORT), at_start="dead")
    second = FaultyBackend(open_backend(timeout=SHORT), at_start="hanging")
    with anyio.fail_after(5), pytest.raises(Unavailable, match="it is down"):
        await Many({"one": first, "two": second}).__aenter__()
    with anyio.fail_after(5), pytest.raises(Timeout):
        await Many({"two": second}).__aenter__()


async def test_it_can_be_closed_in_another_task_than_its_calls_and_opened_again() -> None:
    work = FaultyBackend(open_backend(timeout=SHORT))
    many = Many({"": open_backend(), "work": work})
    for _ in range(2):
        async with many:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(many.list_sessions, ALL)
                tasks.start_soon(many.find_session_ids, "w")
            assert work.faults.is_open
        assert not work.faults.is_open


async def test_an_error_in_the_body_is_raised_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Many({"": open_backend(), "work": FaultyBackend(open_backend())}):
            raise ZeroDivisionError


async def test_after_a_filter_that_all_backends_refuse_they_are_asked_again() -> None:
    async with pair() as (many, _, work):
        with pytest.raises(SessionsError):
            await many.list_sessions(SessionFilter(type="NO TYPE"))
        await work.inner.create_session(name="Trip")
        assert [session.name for session in (await many.list_sessions(ALL)).sessions] == ["Trip"]


async def test_changes_end_with_the_error_of_a_backend_that_fails() -> None:
    async with pair() as (many, bare, work):
        await bare.create_session(name="1")
        assert [session.name async for session in many.changes(None)] == ["1"]
        work.faults.now = "dead"
        with pytest.raises(Unavailable):
            [session async for session in many.changes(None)]


async def test_closing_ends_calls_that_wait_for_a_backend() -> None:
    work = FaultyBackend(open_backend(timeout=LONG), now="hanging")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, Many({"": open_backend(timeout=LONG), "work": work}) as many:
            tasks.start_soon(many.list_sessions, ALL)
            await anyio.wait_all_tasks_blocked()
            assert work.faults.running == 1
    assert work.faults.running == 0


async def test_a_call_after_closing_fails_at_once() -> None:
    with anyio.fail_after(5):
        async with Many({"": open_backend(timeout=LONG), "work": open_backend(timeout=LONG)}) as many:
            pass
        for session_id in ("5", "work/5"):
            with pytest.raises(Unavailable, match="was closed"):
                await many.get_session(session_id)


async def test_an_error_while_a_backend_is_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class FailsToClose(Wrapper):
        async def __aexit__(self, *error: object) -> None:
            await super().__aexit__(None, None, None)
            raise Unavailable("a change could not be written.")

    async with Many({"": open_backend(), "work": FailsToClose(open_backend())}):
        pass
    assert "work (the embedded store) failed while it was closed: a change could not be written." in caplog.text


async def test_an_unexpected_error_in_a_bulk_action_does_not_stop_the_other_backends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Wrapper):
        async def apply_to_sessions(self, *args: object, **kwargs: object) -> BulkResult:
            raise ZeroDivisionError

    async with Many({"": open_backend(), "work": Broken(open_backend())}) as many:
        session = await many.create_session(name="Trip")
        done = await many.apply_to_sessions("archive", ["work/5", session.id], dry_run=False)
        assert done.succeeded == (session.id,)
        assert [failure.session_id for failure in done.failed] == ["work/5"]
        assert done.failed[0].error.startswith("internal: work (the embedded store) failed unexpectedly")
    assert "work (the embedded store) failed: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("silent", ["", "notes"])
async def test_a_hint_is_not_resolved_while_a_backend_that_may_have_the_session_does_not_answer(silent: str) -> None:
    faulty, work = FaultyBackend(open_backend()), open_backend()
    async with Many({silent: faulty, "work": work}) as many:
        session = await work.create_session(name="Trip")
        faulty.faults.now = "dead"
        with pytest.raises(Unavailable, match=r"could not look for the current session in .*: it is down"):
            await many.resolve_hint(session.id)
        faulty.faults.now = ""
        with pytest.raises(NotFound):
            await many.get_session(f"{silent}/5".removeprefix("/"))
        assert await many.resolve_hint(session.id) == f"work/{session.id}"


async def test_sessions_are_deleted_although_the_backend_of_others_does_not_answer() -> None:
    async with pair() as (many, bare, work):
        session = await bare.create_session(name="Trip")
        work.faults.now = "dead"
        found = await many.get_sessions_for_deletion(["work/5", session.id, session.id, "none"])
        assert [one.id for one in found] == [session.id]
        versions = {one.id: one.version for one in found}
        done = await many.apply_to_sessions("delete", ["work/5", session.id], dry_run=False, expected_versions=versions)
        assert done.succeeded == (session.id,)
        assert [failure.session_id for failure in done.failed] == ["work/5"]
        assert done.note.startswith("the embedded store: ")
        with pytest.raises(Unavailable, match="it is down"):
            await many.get_sessions_for_deletion(["work/5"])


async def test_the_progress_of_several_searches_is_one_number_that_grows() -> None:
    reports: list[tuple[float, str]] = []

    class Reporting(Wrapper):
        async def search_sessions(
            self, query: str, *, project: str = "", limit: int = 10, cursor: str = ""
        ) -> SearchPage:
            for done in (1, 2):
                await self.caller.progress(done, f"{done} sessions searched")
                await anyio.lowlevel.checkpoint()
            return await super().search_sessions(query, project=project, limit=limit, cursor=cursor)

    async def report(done: float, message: str) -> None:
        reports.append((done, message))

    async with Many({"": Reporting(open_backend()), "work": Reporting(open_backend())}) as many:
        await many.for_caller(Caller(progress=report)).search_sessions("rome")
    assert [done for done, _ in reports] == [1, 2, 3, 4]
    assert "work (the embedded store): 2 sessions searched" in [message for _, message in reports]


async def test_a_deadline_covers_opening_the_backend_and_the_call_but_not_an_export() -> None:
    remaining: dict[str, float] = {}

    class Timed(Wrapper):
        async def get_session(self, session_id: str) -> SessionDetail:
            remaining["get"] = time_limit(1_000) - anyio.current_time()
            return SessionDetail(id=session_id)

        async def export_session(self, session_id: str) -> JsonObject:
            remaining["export"] = time_limit(1_000) - anyio.current_time()
            return {}

    async with Many({"": open_backend(), "work": Timed(open_backend(timeout=7))}) as many:
        await many.get_session("work/5")
        await many.export_session("work/5")
    assert remaining["get"] <= 7
    assert remaining["export"] > 900
