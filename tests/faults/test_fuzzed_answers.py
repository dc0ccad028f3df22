"""Any response of a system leads to a result or a documented error, in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..support.servers.toxic_server import listening
from .cases import begun
from .fuzz import CALLS, Caller, share
from .mutations import STEPS, Recorded, Recorder, Replay, Step
from .systems import SYSTEMS, System, client_of

pytestmark = pytest.mark.load

SPOILT = st.none() | st.integers(0, 3)
SOME = st.lists(st.tuples(st.integers(0, 99), STEPS, SPOILT), min_size=CALLS, max_size=CALLS)
"""Which tool is called, counted round and round, what is done to the answers, and to which."""


@dataclass
class Recording:
    """What a system answered each tool, and where its journals may be."""

    system: System
    arguments: dict[str, dict[str, Any]]
    answers: Recorded
    folder: Path


@pytest.fixture(scope="module", params=SYSTEMS)
async def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("journals")
    async with SYSTEMS[request.param]() as system:
        recorder = Recorder(upstream=system.origin)
        async with recorder.http, listening(recorder), begun(system, recorder.url, folder) as case:
            for tool, arguments in case.arguments.items():
                await Caller(case.client).call(tool, arguments)
            return Recording(system, dict(case.arguments), recorder.recorded, folder)


@given(SOME)
@share(0.15)
async def test_any_response_of_a_system_leads_to_a_result_or_error(
    recording: Recording, calls: Sequence[tuple[int, Sequence[Step], Any]]
) -> None:
    replay, tools = Replay(recorded=recording.answers), list(recording.arguments)
    async with listening(replay), client_of(recording.system, replay.url, recording.folder, 5) as client:
        caller = Caller(client)
        for number, steps, spoilt in calls:
            replay.begin(steps, spoilt)
            tool = tools[number % len(tools)]
            await caller.call(tool, recording.arguments[tool])
