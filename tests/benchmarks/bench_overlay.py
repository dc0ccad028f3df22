"""What an overlay adds to reading sessions: `python -m tests.benchmarks.bench_overlay [--sessions 10000]`.

The system is a store in a file, as if it could not store annotations.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from mcp_sessions import open_backend
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.models import SessionFilter
from tests.benchmarks.bench_store import timed
from tests.benchmarks.measuring import Figure, print_table, ratios
from tests.benchmarks.store_seeds import build

MOST_MS = 0.3
"""Milliseconds that an overlay may add to a call that reads."""
KEPT = 20  # sessions with facts


class _NamesOnly(Wrapper):
    """A store as if it could store nothing but names."""

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset({"name"})


async def measure(folder: Path, sessions: int) -> Sequence[Figure]:
    """Compare a get and a list with and without an overlay, of sessions of which none is archived."""
    build(folder / "overlaid.db", sessions, 0)
    store = OverlayStore.from_url(f"sqlite:///{folder / 'overlay.db'}")
    async with Overlay(
        _NamesOnly(open_backend(f"sqlite:///{folder / 'overlaid.db'}")), store, source="store"
    ) as overlay:
        plain = overlay.inner
        listed = (await plain.list_sessions(SessionFilter(), limit=KEPT)).sessions
        for session in listed:
            await overlay.update_session_state(session.id, {"step": 1})
        first = listed[0].id
        assert (await overlay.get_session(first)).state == {"step": 1}
        taken = await timed(
            {
                "get": lambda: plain.get_session(first),
                "get through an overlay": lambda: overlay.get_session(first),
                "list": lambda: plain.list_sessions(SessionFilter()),
                "list through an overlay": lambda: overlay.list_sessions(SessionFilter()),
            }
        )
    figures: list[Figure] = []
    for name in ("get", "list"):
        through = f"{name} through an overlay"
        added = [(ours - theirs) * 1_000 for ours, theirs in zip(taken[through], taken[name], strict=True)]
        figures.append(Figure(f"milliseconds that an overlay adds to a {name}", added, MOST_MS))
        figures.append(Figure(f"{through} ÷ {name}", ratios(taken, through, name)))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_table("An overlay", anyio.run(measure, Path(folder), asked.sessions))


if __name__ == "__main__":
    main()
