"""Export and import of an overlay as lines of JSON, one for each field of a session that is kept."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ....errors import BadResponse, Invalid, SessionsError, quoted
from ....json_documents import is_equal, is_object
from ....text.validate import check_text
from ...capability import OVERLAY_FIELDS
from ...database.database import Transaction
from ...database.times import to_datetime, to_micros
from ...validation import SUMMARY_LENGTH, json_text
from . import facts
from .facts import FactsRow, OverlayFacts
from .store import OverlayStore

_BATCH = 100  # rows or lines in one transaction
_TEXT_LENGTH = 4_096
_TEXTS = ("source", "identity", "session_id", "user_id")


@dataclass(frozen=True, slots=True)
class ExportLine:
    """A field of a session that an overlay keeps."""

    source: str
    identity: str
    session_id: str
    user_id: str
    field: str
    value: Any
    gone_at: datetime | None = None
    """When the session was deleted, if it was."""


class DamagedValue(NamedTuple):
    """A value in the overlay's database that can't be read."""

    source: str
    session_id: str
    field: str


@dataclass(slots=True)
class ImportResult:
    """The numbers of lines that were added, and of lines that the overlay already had.

    `different` has the lines that differ from what is kept here, or whose session has a damaged value here.
    """

    added: int = 0
    equal: int = 0
    different: list[ExportLine] = field(default_factory=list[ExportLine])


async def export_lines(store: OverlayStore, damaged: list[DamagedValue]) -> AsyncGenerator[str]:
    """Yield a line for each field that is kept, in a fixed order. Add the values that can't be read to `damaged`."""
    after = ("", "")
    while True:
        rows = await store.scan(partial(facts.page, after=after, limit=_BATCH), list[FactsRow]())
        for source, row, unreadable in rows:
            damaged += [DamagedValue(source, row.session_id, name) for name in unreadable]
            for name, value in row.values(frozenset(OVERLAY_FIELDS)).items():
                line = {"source": source, "identity": row.identity, "session_id": row.session_id}
                line |= {"user_id": row.user_id, "field": name, "value": _exported(value)}
                if row.gone_at is not None:
                    line["gone_at"] = to_datetime(row.gone_at).isoformat()
                yield json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        if len(rows) < _BATCH:
            return
        after = rows[-1].source, rows[-1].facts.identity


def read_lines(lines: Iterable[str]) -> list[ExportLine]:
    """Return the facts in the lines of an export. Raise `Invalid`, with the number of a line that has none."""
    found: list[ExportLine] = []
    for number, text in enumerate(lines, 1):
        if text.strip():
            try:
                found.append(_read_line(text))
            except (SessionsError, ValueError, TypeError, OverflowError, OSError, RecursionError) as error:
                reason = error.message if isinstance(error, SessionsError) else "it is not a line of an export."
                raise Invalid(f"line {number:,} can't be imported: {reason} Nothing was imported.") from error
    return found


async def import_lines(store: OverlayStore, lines: Sequence[ExportLine]) -> ImportResult:
    """Add the facts that the overlay lacks. Never change a fact that it has."""
    result = ImportResult()
    for start in range(0, len(lines), _BATCH):
        batch = await store.write(partial(_import_batch, lines[start : start + _BATCH]))
        result.added += batch.added
        result.equal += batch.equal
        result.different += batch.different
    return result


def _import_batch(lines: Sequence[ExportLine], tx: Transaction) -> ImportResult:
    result = ImportResult()
    for line in lines:
        new = OverlayFacts(line.identity, line.session_id, line.user_id, 0, None, None, None, None, None)
        try:
            row = facts.lock_or_create(tx, line.source, new)
        except BadResponse:  # another line's session may be in order
            result.different.append(line)
            continue
        if not row.version:  # a new row
            row = row._replace(gone_at=line.gone_at and to_micros(line.gone_at))
        kept = row.values(frozenset({line.field})).get(line.field)
        if kept is None:
            facts.write(tx, line.source, row, {line.field: line.value})
            result.added += 1
        elif is_equal(kept, line.value):
            result.equal += 1
        else:
            result.different.append(line)
    return result


def _exported(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _read_line(text: str) -> ExportLine:
    read = json.loads(text)
    if not is_object(read) or read.keys() - {"gone_at"} != {*_TEXTS, "field", "value"}:
        raise ValueError
    if not all(isinstance(read[name], str) for name in _TEXTS):
        raise TypeError
    texts = {name: check_text(read[name], name, _TEXT_LENGTH) for name in _TEXTS}
    if not (texts["source"] and texts["identity"]):
        raise ValueError
    gone_at = _read_time(read["gone_at"]) if "gone_at" in read else None
    return ExportLine(**texts, field=read["field"], value=_read_value(read["field"], read["value"]), gone_at=gone_at)


def _read_value(name: Any, value: Any) -> Any:
    """Return the value of a field. Raise an error if the overlay can't keep it."""
    if name in ("state", "metadata") and is_object(value):
        json_text(value, name)
        return value
    if name == "summary" and isinstance(value, str):
        return check_text(value, name, SUMMARY_LENGTH)
    if name == "archived_at":
        return _read_time(value)
    raise Invalid(f"the value of {quoted(str(name))} is not one that an overlay keeps.")


def _read_time(text: Any) -> datetime:
    """Return a time as a database returns it. Raise an error if no database can store it."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError
    return to_datetime(to_micros(time))
