"""Every fault of a response, for every tool: the result is true and in time, and the next call works."""

import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from time import time

import pytest

from ..support.servers import toxic_proxy
from ..support.servers.toxic_proxy import Proxy, hanging, refusing
from .cases import Kept, begun
from .faults import FAULTS
from .systems import SYSTEMS, TOOLS, System, client_of

pytestmark = pytest.mark.timing  # a call must end within half a second of its deadline
SHORT = 0.5  # seconds that a call may wait for what never comes
MINTS = ("/sessions", "/session", "/message", "/fork")
"""How the changes end that AgentOS and opencode must not be sent twice; Guayaba must be sent none twice."""


@pytest.fixture(scope="module", params=SYSTEMS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
async def done(name: str, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Return what the system stores after each tool was called without faults."""
    async with SYSTEMS[name]() as system, begun(system, system.origin, tmp_path_factory.mktemp("done")) as case:
        assert set((await case.call_all()).values()) == {""}
        done = case.kept()
    assert {tool for tool in done if done[tool] != case.before[tool]} == changing(done)
    return done


def changing(tools: Iterable[str]) -> set[str]:
    return {tool for tool in tools if TOOLS[tool] != "read"}


def assert_sent_once(name: str, system: System, proxy: Proxy, times: int) -> None:
    """Check how often changes were sent: once; `times` if refused; twice if safe to repeat, except on Guayaba."""
    sent = Counter((asked.target, asked.body) for asked in proxy.received if system.is_change(asked))
    for (target, _), counted in sent.items():
        again = name != "guayaba" and not target.partition("?")[0].endswith(MINTS)
        assert counted <= max(times, 2 if again else 1), target
    proxy.received.clear()


@pytest.mark.parametrize("fault", FAULTS)
async def test_after_any_fault_of_a_response_the_result_is_true_and_in_time(
    name: str, fault: str, done: Kept, tmp_path: Path
) -> None:
    planned = FAULTS[fault]
    seconds = SHORT if "timeout" in planned.told else 10
    async with (
        SYSTEMS[name]() as system,
        toxic_proxy.before(system.origin, system.is_change) as proxy,
        begun(system, proxy.url, tmp_path, seconds) as case,
    ):
        for phase in planned.phases:
            proxy.spoil, proxy.phase = planned.spoil, phase
            codes = await case.call_all()
            assert case.untrue(codes, done) == []
            told = {codes[tool] for tool in codes.keys() - changing(codes)}
            assert told <= (planned.told if phase == "outage" else {""})
            assert_sent_once(name, system, proxy, 3 if fault.startswith("429") else 1)
        proxy.spoil = None
        await case.works()


@contextmanager
def unknown() -> Generator[int]:
    """Yield a port, while no host name can be resolved."""

    def fails(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with refusing() as port, pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fails)
        yield port


@pytest.mark.parametrize("way", [refusing, hanging, unknown])
async def test_an_unreachable_system_receives_nothing(
    name: str, way: Callable[[], AbstractContextManager[int]], done: Kept, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(SYSTEMS[name]())
        found = await stack.enter_async_context(begun(system, system.origin, tmp_path, SHORT))
        with way() as port:
            url = f"http://{'localhost' if way is unknown else '127.0.0.1'}:{port}"
            client = await stack.enter_async_context(client_of(system, url, tmp_path, SHORT))
            case = replace(found, client=client)
            codes = await case.call_all()
        assert set(codes.values()) <= {"unavailable", "timeout", "busy"}
        assert case.untrue(codes, done) == []
        async with toxic_proxy.before(system.origin, system.is_change, port):
            await case.works()


async def test_a_clock_that_jumps_changes_nothing(name: str, done: Kept, tmp_path: Path) -> None:
    async with SYSTEMS[name]() as system, begun(system, system.origin, tmp_path) as case:
        years = cycle((-10, 0, 10))
        system.fake.now = lambda: time() + next(years) * 365 * 86_400
        assert set((await case.call_all()).values()) == {""}
        assert case.kept() == done
