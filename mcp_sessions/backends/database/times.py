"""Times as the databases store them: microseconds since 1970, UTC."""

from datetime import UTC, datetime
from time import time_ns

MICROS_PER_DAY = 86_400_000_000


def now_micros() -> int:
    return time_ns() // 1000


def days_from_now(days: int) -> int:
    return now_micros() + days * MICROS_PER_DAY


def to_micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)


def to_datetime(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)
