"""Ids that no session can have: empty, long, of other scripts, or written by an attacker."""

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Invalid, NotFound, Unsupported

from .harness import Seed, System
from .operations import ADDRESSED
from .samples import WEATHER

ODD_IDS = [
    *("", " ", ".", "..", "../..", "/", "a/b", "%2e%2e", "%", "*", "?", "#", "a?b=c", "a&b", "a b", "a\tb", "a\nb"),
    *("\0", "a\0b", "\x1b[31m", "\u202e", "é", "会话", "😀", "\ud800", "current", "null", "None", "-1", "0", "1e9"),
    *("' OR '1'='1", '"; DROP TABLE sessions; --', "x" * 5000),
]


@pytest.mark.owes_each(*ADDRESSED)
async def test_an_unusual_id_is_refused_and_changes_nothing(system: System, capability: Capability) -> None:
    session_id = await system.seed_one(Seed(name="Another", runs=WEATHER))
    before = await system.snapshot(session_id)
    for odd_id in ODD_IDS:
        with pytest.raises((NotFound, Invalid, Unsupported)) as refusal:
            await ADDRESSED[capability](system.backend, odd_id)
        assert refusal.value.text.isprintable()
        assert len(refusal.value.text) < 300
    assert await system.snapshot(session_id) == before
