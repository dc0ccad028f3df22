"""The cost of a page, coarsely, as ratios within one run. `tests/benchmarks` has the figures."""

import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from ...benchmarks.bench_store import by_hand, list_variants, timed
from ...benchmarks.measuring import ratios
from ...benchmarks.store_seeds import build
from ...support.store_files import assert_whole, opened

SESSIONS = 20_000
TRIES = 3  # since a busy machine can spoil one


@pytest.mark.timing
async def test_a_page_costs_little_more_than_its_statement_at_any_depth(path: Path) -> None:
    build(path, SESSIONS, 0)
    assert_whole(path)
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            variants = await list_variants(store, connection, SESSIONS)
            tries = [await timed(variants, rounds=9, calls=30) for _ in range(TRIES)]
    assert min(median(ratios(taken, "list", by_hand("list"))) for taken in tries) <= 4
    assert min(median(ratios(taken, "list, deep", "list")) for taken in tries) <= 1.5
