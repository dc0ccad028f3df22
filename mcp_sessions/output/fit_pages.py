"""Fits a result into its budget of characters: long texts are cut first, then rows, and a cursor continues there.

Works on the payload, the object as it will be sent. What is cut is always said: `omitted_chars`, `next_cursor`
or `note`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import cursors
from ..json_documents import Json, JsonObject, is_array, is_object
from ..models import (
    BulkResult,
    MessagePage,
    Model,
    PageItem,
    RunPage,
    SearchPage,
    SessionDetail,
    SessionPage,
)
from .fit_values import LEAST_TEXT, Place, length, prefix, prune_values, shorten, size, size_apart

_TEXTS = ("text", "input", "output", "snippet", "arguments")
_LISTS = {"attachments": "url", "tool_calls": "arguments"}
"""The lists a row may have, and where in an item of theirs a long text may be."""

_LEAST_ERROR = 24  # characters, so that its code stays whole
_CURSOR_ROOM = len(',"next_cursor":')
_OMITTED_ROOM = len(',"omitted_chars":1234567890')
_PART_ROOM = _OMITTED_ROOM + _CURSOR_ROOM + len('"123abc.1234567890"') + len(',"attachments":[],"tool_calls":[]')
_BULK_NOTE_ROOM = 260


def fit(result: Model, payload: JsonObject, limit: int) -> JsonObject:
    """The payload of a result in at most `limit` characters (1,000 or more); it is changed in place."""
    match result:
        case MessagePage() | RunPage() | SessionPage() | SearchPage():
            _fit_rows(result, payload, limit)
        case BulkResult():
            _fit_bulk(payload, limit)
        case _:
            prune_values(payload, limit, result.state_path if isinstance(result, SessionDetail) else "")
    return payload


def _fit_rows(page: MessagePage | RunPage | SessionPage | SearchPage, payload: JsonObject, limit: int) -> None:
    part = page.part if isinstance(page, MessagePage | RunPage) else -1
    if part <= 0 and _fits(payload, limit):
        return
    key = next(key for key in ("messages", "runs", "sessions", "hits") if key in payload)
    if part >= 0:
        _part(payload, payload[key][0], part, limit)
    elif isinstance(page, MessagePage):
        _messages(payload, page, limit)
    else:
        _page(payload, key, getattr(page, key), limit)
    _squeeze(payload, payload[key][0] if payload[key] else payload, size(payload) - limit)


def _fits(payload: JsonObject, limit: int) -> bool:
    # A page may hold a thousand times what it may send: then its characters are counted, not encoded.
    rows = [row for key in ("messages", "runs") for row in _objects(payload.get(key))]
    return sum(len(holder[key]) for row in rows for holder, key in _texts(row)) <= limit and size(payload) <= limit


def _objects(value: Json) -> list[JsonObject]:
    return value if is_array(value) else []


def _texts(row: JsonObject) -> list[Place]:
    """A row's long texts, and those of what it lists."""
    items = [item for key in _LISTS for item in _objects(row.get(key))]
    return [(holder, key) for holder in (row, *items) for key in _TEXTS if key in holder]


def _strings(value: Json) -> Iterator[Place]:
    """Every text inside."""
    if is_object(value):
        yield from ((value, key) for key, child in value.items() if isinstance(child, str))
    for child in value.values() if is_object(value) else _objects(value):
        yield from _strings(child)


def _page(payload: JsonObject, key: str, rows: Sequence[PageItem], limit: int) -> None:
    """Rows are given up from the end."""
    kept = _keep(payload, key, rows, range(len(rows)), limit)
    if len(kept) < len(rows):
        payload["next_cursor"] = rows[kept[-1]].cursor


def _messages(payload: JsonObject, page: MessagePage, limit: int) -> None:
    """The oldest are given up, or those farthest from the message that the page is around."""
    rows = page.messages
    last = len(rows) - 1
    middle = next((place for place, row in enumerate(rows) if row.id == page.focus), last)
    if middle < last:
        widest = max((row.id for row in rows), key=size)
        payload["note"] = _with_newer(page.note, last, widest, rows[last].id)
    order = sorted(range(len(rows)), key=lambda place: abs(place - middle))
    kept = _keep(payload, "messages", rows, order, limit)
    if not kept:
        return
    oldest, newest = kept[0], kept[-1]
    omitted = rows[oldest].skipped if oldest > 0 else page.omitted_messages
    note = page.note
    if newest < last:
        omitted -= rows[newest].skipped
        note = _with_newer(note, last - newest, rows[newest].id, rows[last].id)
    if oldest > 0:
        payload["next_cursor"] = rows[oldest].cursor
    for key, value in (("omitted_messages", omitted), ("note", note)):
        payload[key] = value
        if not value:
            del payload[key]


def _with_newer(note: str, count: int, newest: str, last: str) -> str:
    newer = f'The {count} newest of this page (after "{newest}") did not fit; around="{last}" shows them.'
    return f"{note} {newer}".strip()


def _keep(payload: JsonObject, key: str, rows: Sequence[PageItem], order: Sequence[int], limit: int) -> list[int]:
    """Keep as many rows, in order of worth, as fit with shortened texts; then as much of their texts as fits.

    Returns the places of those kept; the most worthy always is.
    """
    shown = _objects(payload[key])
    own_cursor = payload.pop("next_cursor", "")
    limit -= max(size(cursor) for cursor in (own_cursor, *(row.cursor for row in rows))) + _CURSOR_ROOM
    payload[key] = []
    room = limit - size(payload)
    kept: list[int] = []
    floors = 0
    for place in order:
        shell, floor = _least_row(shown[place])
        if shell + floor > room and kept:
            break
        if shell + floor > room:
            _drop_items(shown[place], shell + floor - room)
            shell, floor = _least_row(shown[place])
        kept.append(place)
        room -= shell + floor
        floors += floor
    kept.sort()
    payload[key] = [shown[place] for place in kept]
    _cut([(row, text) for row in payload[key] for text in _texts(row)], floors + max(room, 0))
    if own_cursor:
        payload["next_cursor"] = own_cursor
    return kept


def _least_row(row: JsonObject) -> tuple[int, int]:
    texts = _texts(row)
    shell, floor = _least(row, texts, LEAST_TEXT)
    return shell + (_OMITTED_ROOM if any(len(holder[key]) > LEAST_TEXT for holder, key in texts) else 0), floor


def _least(row: Json, texts: Sequence[Place], least: int) -> tuple[int, int]:
    """The characters a row takes without its long texts, and those of what each of these keeps."""
    return size_apart(row, texts) + 1, sum(length(holder[key][:least]) for holder, key in texts)


def _drop_items(row: JsonObject, over: int) -> None:
    """Give up the last of what a row lists; `message_id` shows it all."""
    over += _OMITTED_ROOM
    lost = 0
    for key in _LISTS:
        items = _objects(row.get(key))
        while items and over > 0:
            item = items.pop()
            over -= sum(_least(item, _texts(item), LEAST_TEXT))
            lost += sum(len(holder[name]) for holder, name in _strings(item))
        if is_array(row.get(key)) and not items:
            del row[key]
    if lost:
        row["omitted_chars"] = row.get("omitted_chars", 0) + lost


def _squeeze(holder: JsonObject, row: JsonObject, over: int) -> None:
    """Cut whatever is long, ids too, where nothing is left to be given up; the row says how much."""
    if over > 0:
        texts = [(owner, key) for owner, key in _strings(holder) if key != "next_cursor"]
        taken = sum(length(owner[key]) for owner, key in texts)
        _cut([(row, text) for text in texts], taken - over - _OMITTED_ROOM)


def _cut(texts: Sequence[tuple[JsonObject, Place]], room: int) -> None:
    """Shorten texts, each of which belongs to a row that says what was cut."""
    for (row, _), lost in zip(texts, shorten([text for _, text in texts], room, LEAST_TEXT), strict=True):
        if lost:
            row["omitted_chars"] = row.get("omitted_chars", 0) + lost


class _Piece(NamedTuple):
    """A text of one message or run; where it is an item's of one of its lists, the list and the item."""

    text: str
    key: str
    listed: str
    item: JsonObject


def _part(payload: JsonObject, row: JsonObject, start: int, limit: int) -> None:
    """One message or run from an offset on: its texts in order, each as far as it belongs to this part.

    The offset counts the texts' characters, and one for each text's beginning.
    """
    walk = cursors.walk("part", payload["session_id"], row["id"])
    pieces = _take_out(row)
    _squeeze(payload, row, size(payload) - limit // 2)
    room = limit - size(payload) - _PART_ROOM
    position = 0
    for piece in pieces:
        begin = max(start - position - 1, 0)
        if start <= position + len(piece.text):
            _squeeze(piece.item, piece.item, size(piece.item) - limit // 4)
            taken, room = _show(row, piece, begin, room)
            if begin + taken < len(piece.text):
                payload["next_cursor"] = cursors.mark(walk, position + 1 + begin + taken)
                break
        position += 1 + len(piece.text)


def _take_out(row: JsonObject) -> list[_Piece]:
    pieces = [_Piece(row.pop(key), key, "", {}) for key in _TEXTS if key in row]
    for listed, key in _LISTS.items():
        if is_array(row.get(listed)):
            pieces += [_Piece(item.pop(key, ""), key, listed, item) for item in row.pop(listed)]
    return pieces


def _show(row: JsonObject, piece: _Piece, begin: int, room: int) -> tuple[int, int]:
    """Put as much of a piece as fits back into its row: how many characters (-1: not even begun), and the room left."""
    room -= size({**piece.item, piece.key: ""}) + 1
    taken = prefix(piece.text[begin : begin + max(room, 0)], room)
    if room < 0 or (piece.text and not taken):
        return -1, room
    text = piece.text[begin : begin + taken]
    if piece.listed:
        row.setdefault(piece.listed, []).append({**piece.item, piece.key: text} if text else piece.item)
    else:
        row[piece.key] = text
    return taken, room - length(text)


def _fit_bulk(payload: JsonObject, limit: int) -> None:
    """Errors and names are cut, an error down to its code; then the lists are, from their ends."""
    if size(payload) <= limit:
        return
    lists = {key: payload.pop(key) for key in ("succeeded", "failed", "would_change") if key in payload}
    room = limit - size({**payload, **dict.fromkeys(lists, ())}) - _BULK_NOTE_ROOM
    texts: list[Place] = []
    floors = 0
    lost: list[str] = []
    for name, rows in lists.items():
        kept: list[Json] = []
        for row in rows:
            own = [(row, key) for key in ("error", "name") if is_object(row) and key in row]
            shell, floor = _least(row, own, _LEAST_ERROR)
            if shell + floor > room:
                break
            kept.append(row)
            texts += own
            room -= shell + floor
            floors += floor
        if kept:
            payload[name] = kept
        if len(kept) < len(rows):
            lost.append(f"{len(rows) - len(kept)} of {name}")
    cut = sum(count > 0 for count in shorten(texts, floors + room, _LEAST_ERROR))
    lost += [f"the ends of {cut} errors or names"] if cut else []
    payload["note"] = (
        f"{payload.get('note', '')} Left out to fit {limit:,} characters: {', '.join(lost)}."
        " Call again with dry_run=true and fewer session_ids to see each."
    ).strip()
