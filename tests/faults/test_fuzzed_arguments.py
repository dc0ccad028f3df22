"""Any arguments of a tool lead to a result or a documented error, in time."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.json_documents import JsonObject
from mcp_sessions.server.call import SessionTool
from mcp_sessions.tools import TOOLSETS

from ..support.clients import serving
from .fuzz import CALLS, Caller, calls_of, share
from .systems import SYSTEMS, client_of

pytestmark = pytest.mark.load

TOOLS = {spec.name: SessionTool.from_spec(spec).parameters for toolset in TOOLSETS for spec in toolset.specs}
CALL = st.one_of(*[calls_of(tool, schema) for tool, schema in TOOLS.items()])
SOME = st.lists(CALL, min_size=CALLS, max_size=CALLS)
LEAST = 2_000
Calls = Sequence[tuple[str, JsonObject]]


async def answered(caller: Caller, calls: Calls) -> None:
    """Make the calls. The ids of existing sessions come first, so that later calls can use them."""
    for archived in (False, True):
        await caller.call("list_sessions", {"archived": archived})
    for tool, arguments in calls:
        await caller.call(tool, arguments)


@given(SOME)
@share(0.5)
async def test_any_arguments_lead_to_a_result_or_error_on_the_embedded_store(calls: Calls) -> None:
    async with serving(max_chars=LEAST) as peer:
        for name in ("first", "second", "third"):
            session = await peer.session(*[f"hello {number}" * 99 for number in range(4)], name=name, state={"a": [1]})
        await peer.backend.archive_session(session.id)
        await answered(Caller(peer.client, LEAST), calls)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journals")


@pytest.mark.parametrize("name", SYSTEMS)
@given(SOME)
@share(0.1)
async def test_any_arguments_lead_to_a_result_or_error_over_http(name: str, folder: Path, calls: Calls) -> None:
    async with SYSTEMS[name]() as system, client_of(system, system.origin, folder, 5) as client:
        await answered(Caller(client), calls)
