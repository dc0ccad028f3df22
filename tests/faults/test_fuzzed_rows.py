"""Any rows that another program wrote into the store lead to a result or a documented error."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..support.clients import serving
from ..support.store_files import connected
from ..tools.test_bad_input import GOOD, good_arguments
from .fuzz import Caller, share

pytestmark = pytest.mark.load

COLUMNS = [
    *[f"sessions.{name}" for name in ("id", "name", "folded_name", "type", "agent_id", "user_id", "place", "version")],
    *[f"sessions.{name}" for name in ("created_at", "updated_at", "archived_at", "purge_at")],
    *[f"sessions.{name}" for name in ("message_count", "run_count", "summary", "metadata", "state")],
    *[f"messages.{name}" for name in ("number", "run", "role", "created_at")],
    *[f"messages.{name}" for name in ("tool_name", "tool_calls", "attachments", "text")],
]
VALUES: list[object] = [
    *("", "x", "\0", "..", "current", "m1", "🙂" * 99, "x" * 30_000, b"\xff", b"", 0, 1, -1, 7, 1.5, None),
    *(2**62, -(2**62), 10**15, float("inf"), "{", "null", "[]", "7", '"x"', "NaN", "[null]", "[[]]", '[{"id":7}]'),
    *('{"a":NaN}', '{"a":1e999}', '{"a":"\\ud800"}', '{"a":1,"a":2}', "[" * 3_000, '{"a":' * 300 + "1" + "}" * 300),
]
SOME = st.lists(st.tuples(st.sampled_from(COLUMNS), st.sampled_from(VALUES)), min_size=1, max_size=3)


@given(st.lists(SOME, min_size=3, max_size=3))
@share(0.1)
async def test_any_rows_of_the_store_lead_to_a_result_or_error(rows: Sequence[Sequence[tuple[str, object]]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        async with serving(url=f"sqlite:///{path}", confirm="off") as peer:
            caller = Caller(peer.client)
            for changes in rows:
                session = await peer.session("hello", "yes", name="here", state={"kept": 1})
                with connected(path) as connection:
                    for column, value in changes:
                        table, _, name = column.partition(".")
                        with suppress(sqlite3.IntegrityError, OverflowError):
                            connection.execute(f"UPDATE {table} SET {name} = ?", (value,))
                for tool in GOOD:
                    await caller.call(tool, good_arguments(tool, session.id))
