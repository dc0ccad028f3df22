"""An answer in JSON with some of its parts dropped, retyped, cut, nested or doubled, and a system that gives such."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx2
from hypothesis import strategies as st

from mcp_sessions.json_documents import Json, is_array, is_object

from ..support.servers.toxic_proxy import Proxy
from ..support.servers.toxic_server import Connection, Received, ToxicServer, whole
from .fuzz import HOSTILE

KINDS = ("drop", "retype", "replace", "cut", "nest", "double", "half")
Step = tuple[str, int, Json]
"""What is done, to which part, counted round and round, and what may be put there."""
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 400), st.sampled_from(HOSTILE)), min_size=1, max_size=3
)
Recorded = dict[tuple[str, str], list[httpx2.Response]]
"""Answers in their order, by method and target."""


def mutated(body: bytes, steps: Sequence[Step]) -> bytes:
    root: list[Any] = [json.loads(body)] if body else []
    for kind, number, junk in steps:
        places = list(_places(root))
        if places and kind not in ("double", "half"):
            holder, place = places[number % len(places)]
            _change(holder, place, kind, junk)
    text = json.dumps(root[0]) if root else ""
    for kind, number, junk in steps:
        names = re.findall(r'"\w+": ', text)
        if kind == "double" and names:
            name: str = names[number % len(names)]
            text = text.replace(name, f"{name}{json.dumps(junk)}, {name}")
        elif kind == "half":
            text = text[: number * len(text) // 400]
    return text.encode()


def _places(holder: Json) -> Iterator[tuple[Any, Any]]:
    """Yield every value in a document, as its container and its key there."""
    items = enumerate(holder) if is_array(holder) else list(holder.items()) if is_object(holder) else ()
    for place, value in items:
        yield holder, place
        yield from _places(value)


def _change(holder: Any, place: Any, kind: str, junk: Json) -> None:
    value: Any = holder[place]
    match kind:
        case "drop":
            del holder[place]
        case "retype":
            holder[place] = str(value) if isinstance(value, int | float) else 7
        case "cut" if isinstance(value, str) or is_array(value):
            holder[place] = value[: len(value) // 2]
        case "nest":
            holder[place] = [[value]] if isinstance(junk, str) else {"data": value}
        case _:
            holder[place] = deepcopy(junk)  # which a later step may change


@dataclass
class Recorder(Proxy):
    recorded: Recorded = field(default_factory=Recorded)

    async def _passed_on(self, asked: Received) -> httpx2.Response:
        response = await super()._passed_on(asked)
        self.recorded.setdefault((asked.method, asked.target), []).append(response)
        return response


@dataclass
class Replay(ToxicServer):
    """Answers as was recorded, with `steps` done to every answer, or to the one of this number alone."""

    recorded: Recorded = field(default_factory=Recorded)
    steps: Sequence[Step] = ()
    spoilt: int | None = None
    given: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def begin(self, steps: Sequence[Step], spoilt: int | None) -> None:
        self.steps, self.spoilt = steps, spoilt
        self.given.clear()

    async def _answer(self, connection: Connection) -> None:
        asked = self.received[-1]
        key = asked.method, asked.target
        answers = self.recorded.get(key, [httpx2.Response(404, content=b'{"detail": "None."}')])
        reply = answers[min(self.given[key], len(answers) - 1)]
        is_spoilt = self.spoilt in (None, self.given.total())
        self.given[key] += 1
        body = mutated(reply.content, self.steps) if is_spoilt else reply.content
        await whole(reply.status_code, body)(connection)
