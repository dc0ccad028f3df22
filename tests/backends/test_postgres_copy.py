"""A store moves from SQLite to PostgreSQL and back, and is the same at every step."""

from pathlib import Path

from .copied import copy, fill, require_same
from .databases import Place


async def test_a_store_moves_to_postgresql_and_back(place: Place, tmp_path: Path) -> None:
    first, last = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    ids = await fill(first)
    for source, target in ((first, place.url), (place.url, last)):
        done = copy(source, target)
        assert (done.status, done.err) == (0, "")
        assert ", 12 of the sessions" not in done.out
    assert copy(first, place.url).out.endswith(", 12 of the sessions were there already.\n")
    assert copy(first, last).status == 0
    await require_same(first, place.url, ids)
