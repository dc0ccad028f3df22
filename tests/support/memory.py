"""How much memory a call keeps, and how much a process takes."""

import gc
import re
import subprocess
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path


async def kept_after(call: Callable[[], Awaitable[object]]) -> int:
    """Return how many bytes that were allocated during a call are still in use after it."""
    tracemalloc.start()
    try:
        await call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def peak_kilobytes(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process ends, and return the most resident memory that it had, in kilobytes.

    It is read again and again, since `ru_maxrss` has that of the process which started it too.
    """
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+)", status):  # else the process has just ended
            peak = int(found[1])
        time.sleep(0.05)
    return peak
