"""Transcripts that are damaged in any way are read, or refused as not found: they never fail, hang or change."""

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
from .folders import FIXTURES, opened

CASES = int(os.environ.get("FUZZ_CASES", "60"))
SOURCES = sorted((FIXTURES / "config").rglob("*.jsonl"))
SESSION = "11111111-2222-4333-8444-555555555555"
AGENT = f"{SESSION}/agent-abc"
Mutation = Callable[[random.Random, list[bytes]], list[bytes]]


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
    values = [b"null", b"5", b"[]", b"{}", b'""', b'"user"', b'"assistant"', b"[[]]", b"-1e999", b'"\\ud800"', b"true"]
    found = list(re.finditer(rb'(?<=":)(?:"[^"\\]*"|\d+|null|true|false|\{\}|\[[^\[\]]*\])', line))
    if not found:
        return line
    match = chance.choice(found)
    return line[: match.start()] + chance.choice(values) + line[match.end() :]


MUTATIONS: dict[str, Mutation] = {
    "cut": _one(lambda chance, line: line[: chance.randrange(len(line))] + b"\n"),
    "joined": _one(lambda chance, line: line.rstrip(b"\n")),
    "flipped": _one(_flip),
    "retyped": _one(_retype),
    "dropped": lambda chance, lines: [line for line in lines if chance.random() > 0.2] or lines,
    "doubled": lambda chance, lines: [line for line in lines for _ in range(chance.choice((1, 1, 1, 2)))],
    "reordered": lambda chance, lines: chance.sample(lines, len(lines)),
    "relinked": lambda chance, lines: [
        re.sub(rb'"parentUuid":"[^"]*"', rb'"parentUuid":"%s"' % chance.choice(_uuids(lines)), line, count=1)
        for line in lines
    ],
}


def _uuids(lines: list[bytes]) -> list[bytes]:
    return re.findall(rb'"uuid":"([^"]*)"', b"".join(lines)) or [b"x"]


def damaged(chance: random.Random) -> bytes:
    """Return the bytes of a fixture after one to four changes."""
    lines = chance.choice(SOURCES).read_bytes().splitlines(keepends=True)
    for name in chance.choices(sorted(MUTATIONS), k=chance.randint(1, 4)):
        lines = MUTATIONS[name](chance, [line for line in lines if line])
    return b"".join(lines)


async def read(backend: SessionBackend, session_id: str) -> None:
    """Read a session in every way. The messages of all pages must be those of one large page, each once."""
    session = await backend.get_session(session_id)
    everything = await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)
    walked = oldest_first(await history_pages(backend, session_id, 3, include_tools=True))
    if not everything.next_cursor:
        assert [message.id for message in walked] == [message.id for message in everything.messages]
    for message in everything.messages[:3]:
        await backend.get_session_history(session_id, HistoryQuery(around=message.id), limit=2)
    await all_runs(backend, session_id, 2)
    json.dumps([session.model_dump(mode="json"), everything.model_dump(mode="json")], ensure_ascii=False).encode()


@pytest.mark.parametrize("seed", range(4))
async def test_a_damaged_transcript_is_read_or_not_found(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    session = tmp_path / f"projects/-p/{SESSION}.jsonl"
    agent = tmp_path / f"projects/-p/{AGENT.replace('/', '/subagents/')}.jsonl"
    agent.parent.mkdir(parents=True)
    async with opened(tmp_path) as backend:
        for _ in range(CASES // 4):
            contents = {path: damaged(chance) for path in (session, agent)}
            contents[agent] = re.sub(rb'"sessionId":"[^"]*"', f'"sessionId":"{SESSION}"'.encode(), contents[agent])
            for path, data in contents.items():
                path.write_bytes(data)
            with anyio.fail_after(20):
                for session_id in (SESSION, AGENT):
                    with suppress(NotFound, BadResponse):
                        await read(backend, session_id)
                for order in get_args(Order):
                    await backend.list_sessions(SessionFilter(order=order))
                await backend.search_sessions("reply")
            assert {path: path.read_bytes() for path in contents} == contents
