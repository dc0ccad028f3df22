"""Changes and reads of one session by many clients are linearizable."""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path

import anyio
import pytest

from ..support.clients import Peer, serving

CLIENTS, CALLS = 4, 500


@dataclass(frozen=True)
class Done:
    """A call between two ticks of the clock; `previous` is what a change says that it replaced."""

    began: int
    ended: int
    version: int
    name: str
    previous: str | None = None


def are_in_one_order(done: Sequence[Done]) -> bool:
    """Return whether each change replaced the value before it, and each read returned the latest acknowledged value."""
    changes = [call for call in done if call.previous is not None]
    names = {1: "first"} | {call.version: call.name for call in changes}
    follow = all(names.get(call.version - 1) == call.previous for call in changes)
    seen = all(names.get(call.version) == call.name for call in done)
    ends = sorted((call.ended, call.version) for call in done)
    told = [0, *accumulate((version for _, version in ends), max)]
    in_time = all(call.version >= told[bisect(ends, (call.began, 0))] + (call.previous is not None) for call in done)
    return len(names) == len(changes) + 1 and follow and seen and in_time


@pytest.mark.load
async def test_the_calls_on_one_session_are_linearizable(tmp_path: Path) -> None:
    url, clock, done = f"sqlite:///{tmp_path}/sessions.db", count(), list[Done]()
    async with serving(url=url) as one, serving(url=url) as other:
        session_id = (await one.session(name="first")).id

        async def client(peer: Peer, number: int) -> None:
            chance = random.Random(number)
            for step in range(CALLS):
                began = next(clock)
                if chance.random() < 0.5:
                    told = await peer.call("rename_session", session_id=session_id, name=f"{number}-{step}")
                    name, previous = told["changed"]["name"], told["previous"]["name"]
                else:
                    told = await peer.call("get_session", session_id=session_id)
                    name, previous = told["name"], None
                done.append(Done(began, next(clock), int(told["version"]), name, previous))

        async with anyio.create_task_group() as tasks:
            for number in range(CLIENTS):
                tasks.start_soon(client, (one, other)[number % 2], number)
    assert len(done) == CLIENTS * CALLS
    assert are_in_one_order(done)
    late = next(call for call in done if call.version > 100)
    for lie in (
        replace(late, version=late.version - 1),
        replace(late, began=late.began + 10**6, ended=late.ended + 10**6),
    ):
        assert not are_in_one_order([lie if call is late else call for call in done])
