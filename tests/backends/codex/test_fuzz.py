"""Homes that are damaged in any way are read, or refused: reading never fails otherwise, hangs or changes anything."""

import json
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_args

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import BadResponse, NotFound
from mcp_sessions.models import HistoryQuery, Order, SessionFilter

from ...contract.walks import all_runs, history_pages, oldest_first
from ...support.file_states import states_in
from .homes import FIXTURES, copy_fixtures, opened

CASES = int(os.environ.get("FUZZ_CASES", "12"))
Mutation = Callable[[random.Random, list[bytes]], list[bytes]]
_VALUES = (b"null", b"5", b"[]", b"{}", b'""', b'"paginated"', b'"legacy"', b"[[]]", b"-1e999", b'"\\ud800"', b"true")
_VALUE = re.compile(rb'(?<=":)(?:"[^"\\]*"|\d+|null|true|false|\{\}|\[[^\[\]]*\])')


def _one(change: Callable[[random.Random, bytes], bytes]) -> Mutation:
    def mutate(chance: random.Random, lines: list[bytes]) -> list[bytes]:
        place = chance.randrange(len(lines))
        return [*lines[:place], change(chance, lines[place]), *lines[place + 1 :]]

    return mutate


def _flip(chance: random.Random, line: bytes) -> bytes:
    changed = bytearray(line)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _retype(chance: random.Random, line: bytes) -> bytes:
    found = list(_VALUE.finditer(line))
    if not found:
        return line
    match = chance.choice(found)
    return line[: match.start()] + chance.choice(_VALUES) + line[match.end() :]


MUTATIONS: dict[str, Mutation] = {
    "cut": _one(lambda chance, line: line[: chance.randrange(len(line))] + b"\n"),
    "joined": _one(lambda chance, line: line.rstrip(b"\n")),
    "flipped": _one(_flip),
    "retyped": _one(_retype),
    "header": lambda chance, lines: [_retype(chance, lines[0]), *lines[1:]],
    "dropped": lambda chance, lines: [line for line in lines if chance.random() > 0.2] or lines,
    "doubled": lambda chance, lines: [line for line in lines for _ in range(chance.choice((1, 1, 1, 2)))],
    "reordered": lambda chance, lines: chance.sample(lines, len(lines)),
}


def damage(chance: random.Random, path: Path, original: bytes) -> None:
    """Write a file with one to three changes."""
    if path.suffix == ".sqlite":
        path.write_bytes(_flip(chance, original) if chance.random() < 0.5 else original)
        return
    lines = original.splitlines(keepends=True)
    for name in chance.choices(sorted(MUTATIONS), k=chance.randint(1, 3)):
        lines = MUTATIONS[name](chance, [line for line in lines if line] or [b"x"])
    path.write_bytes(b"".join(lines))


async def read(backend: SessionBackend, session_id: str) -> None:
    """Read a session in every way. The messages of all pages must be those of one large page, each once."""
    session = await backend.get_session(session_id)
    everything = await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)
    walked = oldest_first(await history_pages(backend, session_id, 3, include_tools=True))
    if not everything.next_cursor:
        assert [message.id for message in walked] == [message.id for message in everything.messages]
    for message in everything.messages[:2]:
        await backend.get_session_history(session_id, HistoryQuery(around=message.id), limit=2)
    await all_runs(backend, session_id, 2)
    json.dumps([session.model_dump(mode="json"), everything.model_dump(mode="json")], ensure_ascii=False).encode()


@pytest.mark.parametrize("seed", range(3))
async def test_a_damaged_home_is_read_as_far_as_it_can_be(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    home = copy_fixtures(tmp_path)
    originals = {path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}
    ids = {match[1] for path in originals if (match := re.search(r"-(01a2[0-9a-f-]{32})(?:_|\.)", path.name))}
    assert len(ids) == len(json.loads((FIXTURES / "expected.json").read_text())["threads"])
    async with opened(home) as backend:
        for _ in range(CASES // 3):
            for path, original in originals.items():
                damage(chance, path, original)
            before = states_in(home)
            with anyio.fail_after(30):
                for session_id in chance.sample(sorted(ids), 4):
                    with suppress(NotFound, BadResponse):
                        await read(backend, session_id)
                for order in get_args(Order):
                    await backend.list_sessions(SessionFilter(order=order))
                await backend.search_sessions("answer")
            assert states_in(home) == before
