"""The deadline that every operation of a backend over HTTP has."""

from inspect import iscoroutinefunction
from typing import Any

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.deadline import deadline, time_limit
from mcp_sessions.backends.http.backend import OPERATIONS, HttpBackend
from mcp_sessions.backends.options import HttpOptions


async def remaining_seconds(*_: Any, **__: Any) -> float:
    return time_limit(1_000) - anyio.current_time()


PROBE: Any = type("Probe", (HttpBackend,), {"title": "a probe"} | dict.fromkeys(OPERATIONS, remaining_seconds))()
"""A backend over HTTP whose operations return how much time they have."""
PROBE.options = HttpOptions(timeout=7)


def test_every_operation_of_a_backend_is_in_the_list() -> None:
    operations = {
        name for name, value in vars(SessionBackend).items() if not name.startswith("_") and iscoroutinefunction(value)
    }
    of_several_calls = {"export_session", "get_sessions_for_deletion"}  # each call has a deadline of its own
    of_files = {"transcript_feed", "protect_session"}  # for systems that keep their sessions in files
    assert set(OPERATIONS) == operations - of_several_calls - of_files


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_no_operation_takes_longer_than_the_timeout(operation: str) -> None:
    assert 6 < await getattr(PROBE, operation)() <= 7


async def test_an_inner_deadline_only_shortens_the_outer_one() -> None:
    with deadline(3):
        assert await PROBE.list_sessions() <= 3
        with deadline(20):
            assert await remaining_seconds() <= 3
    assert await remaining_seconds() > 900
