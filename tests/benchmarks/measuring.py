"""How two ways are compared: in turns within one run, as the ratio of each round, with its spread."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from os import getloadavg
from pathlib import Path
from statistics import median, quantiles

Block = Callable[[int], float]
"""Makes so many calls; what one of them took, in any unit."""
TRIES = 3  # at most, since a busy machine can spoil one


@dataclass(frozen=True)
class Figure:
    """One row of the table: the rounds' values, of which the median is to be at most, or `at_least`, the goal."""

    name: str
    values: Sequence[float]
    goal: float | None = None
    at_least: bool = False

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def is_reached(self) -> bool:
        return self.goal is None or (self.value >= self.goal if self.at_least else self.value <= self.goal)

    def row(self) -> str:
        """Return a row of a Markdown table: the median, the middle half of the rounds, the goal."""
        low, _, high = quantiles(self.values, n=4) if len(self.values) > 1 else (self.value,) * 3
        goal = "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:,.4g}"
        missed = "" if self.is_reached else " missed"
        return f"| {self.name} | {self.value:,.3g} | {low:,.3g} … {high:,.3g} | {goal}{missed} |"


def in_turns(variants: Mapping[str, Block], *, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the time of each variant by round: in blocks of so many calls, in any order, after a block to warm up."""
    chance = random.Random(1)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for block in variants.values():
        block(calls)
    for _ in range(rounds):
        for name in chance.sample(list(variants), len(variants)):
            taken[name].append(variants[name](calls))
    return taken


def ratios(taken: Mapping[str, Sequence[float]], one: str, other: str) -> list[float]:
    return [ours / theirs for ours, theirs in zip(taken[one], taken[other], strict=True)]


async def assert_below(limits: Mapping[str, float], measure: Callable[[], Awaitable[Mapping[str, float]]]) -> None:
    """Measure until each value has been below its limit once, and fail if `TRIES` times are not enough."""
    best = dict.fromkeys(limits, inf)
    for _ in range(TRIES):
        values = await measure()
        best = {name: min(value, values[name]) for name, value in best.items()}
        if all(best[name] < limit for name, limit in limits.items()):
            return
    raise AssertionError(f"The best of {TRIES} tries were {best}, and must be below {dict(limits)}")


def processor_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process so far, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def kilobytes(pid: int) -> int:
    """Return the resident memory of a process in kilobytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def print_table(title: str, figures: Sequence[Figure]) -> None:
    print(f"\n### {title} (load {getloadavg()[0]:.1f})\n")
    print("| what | median | middle half | goal |\n| --- | --- | --- | --- |")
    for figure in figures:
        print(figure.row(), flush=True)
