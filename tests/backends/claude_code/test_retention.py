"""Sessions that Claude Code will remove within 7 days say when."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ...support.claude_transcripts import Transcript
from .folders import opened

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("settings", "age", "left"),
    [
        (None, 10, None),
        (None, 24, 6),
        (None, 31, -1),
        ('{"model":"opus"}', 24, 6),
        ('{"cleanupPeriodDays":365}', 24, None),
        ('{"cleanupPeriodDays":14}', 10, 4),
        ('{"cleanupPeriodDays":99999999999}', 24, None),
        ('{"cleanupPeriodDays":"30"}', 24, None),
        ('{"cleanupPeriodDays":-1}', 24, None),
        ("{", 24, None),
    ],
)
async def test_a_session_says_when_it_will_be_removed(
    tmp_path: Path, settings: str | None, age: int, left: int | None
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    transcript = Transcript()
    transcript.prompt("Hello", now - 100 * DAY)
    path = transcript.write(tmp_path)
    changed = (now - age * DAY).timestamp()
    os.utime(path, (changed, changed))
    if settings is not None:
        (tmp_path / "settings.json").write_text(settings)
    async with opened(tmp_path) as backend:
        session = await backend.get_session(transcript.id)
    assert session.expires_at == (None if left is None else now + left * DAY)
    assert session.updated_at == now - 100 * DAY


async def test_settings_that_can_not_be_read_mean_that_nothing_is_known(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.prompt("Hello", datetime(2024, 1, 1, tzinfo=UTC))
    transcript.write(tmp_path, datetime(2024, 1, 1, tzinfo=UTC))
    (tmp_path / "settings.json").mkdir()
    async with opened(tmp_path) as backend:
        assert (await backend.get_session(transcript.id)).expires_at is None
