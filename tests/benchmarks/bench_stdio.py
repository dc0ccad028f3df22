"""Latency of an empty tool over our stdio runner, divided by that over the SDK's."""

import json
import random
import statistics
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.stdio_client import DEADLINE, ENVIRONMENT, Frame, call, command, initialize, notification


class Server:
    """A server process, spoken to with blocking reads and writes: the cheapest client there is."""

    def __init__(self, mode: str, marker: Path | None = None, stderr: IO[bytes] | None = None) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command(mode, marker), stdin=pipe, stdout=pipe, stderr=stderr, bufsize=0, env=ENVIRONMENT
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin = self.process.stdin
        self.stdout = self.process.stdout
        self.ask(initialize(0))
        self.write(notification("notifications/initialized"))

    def write(self, frame: Frame) -> None:
        self.stdin.write(json.dumps(frame).encode() + b"\n")

    def ask(self, frame: Frame) -> Frame:
        """Send `frame`, and return the next line."""
        self.write(frame)
        return json.loads(self.stdout.readline())

    def median_call(self, calls: int) -> float:
        """Return the seconds of the median of `calls` calls, made one at a time."""
        taken: list[float] = []
        for number in range(calls):
            frame = call(number, "look")
            began = time.perf_counter()
            answer = self.ask(frame)
            taken.append(time.perf_counter() - began)
            assert "result" in answer
        return statistics.median(taken)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stdin.close()
        self.stdout.close()
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()


def latency_ratio(rounds: int, calls: int) -> float:
    """Return the median over `rounds` of our latency ÷ the SDK's, measured in turns of `calls` each."""
    with Server("ours") as ours, Server("sdk") as theirs:
        ratios: list[float] = []
        for number in range(rounds + 1):
            order = random.Random(number).sample([ours, theirs], 2)
            medians = {server: server.median_call(calls) for server in order}
            ratios.append(medians[ours] / medians[theirs])
    # The first round warms both up.
    return statistics.median(ratios[1:])


if __name__ == "__main__":
    print(f"ours / sdk: {latency_ratio(rounds=15, calls=200):.2f}")
