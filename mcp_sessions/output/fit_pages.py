"""Fits a result into its character budget: shortens long texts first, then leaves out rows.

All functions change the payload, the JSON object to send, in place. `omitted_chars`, `next_cursor` or `note` says
what was cut.
"""

from collections.abc import Callable, Iterator, Sequence
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
from .fit_values import MIN_TEXT, Slot, prefix_length, prune_values, shorten, size, size_without, text_size

Encrypt = Callable[[str], str]
"""Returns the cursor to send for a backend's cursor."""

_TEXTS = ("text", "input", "output", "snippet", "arguments")
_LISTS = {"attachments": "url", "tool_calls": "arguments"}
"""The lists that a row may have, and the key of the long text in their items."""

_MIN_ERROR = 24  # characters, enough for its code
_CURSOR_ROOM = len(',"next_cursor":')
_OMITTED_ROOM = len(',"omitted_chars":1234567890')
_PART_ROOM = _OMITTED_ROOM + _CURSOR_ROOM + len(',"attachments":[],"tool_calls":[]')
_BULK_NOTE_ROOM = 260


def fit(result: Model, payload: JsonObject, limit: int, encrypt: Encrypt = str) -> JsonObject:
    """Return the payload of a result, changed in place to at most `limit` characters (1,000 or more)."""
    if "next_cursor" in payload:
        payload["next_cursor"] = encrypt(payload["next_cursor"])
    match result:
        case MessagePage() | RunPage() | SessionPage() | SearchPage():
            _fit_rows(result, payload, limit, encrypt)
        case BulkResult():
            _fit_bulk(payload, limit)
        case _:
            prune_values(payload, limit, result.state_path if isinstance(result, SessionDetail) else "")
    return payload


def _fit_rows(
    page: MessagePage | RunPage | SessionPage | SearchPage, payload: JsonObject, limit: int, encrypt: Encrypt
) -> None:
    part = page.part if isinstance(page, MessagePage | RunPage) else -1
    if part <= 0 and _fits(payload, limit):
        return
    key = next(key for key in ("messages", "runs", "sessions", "hits") if key in payload)
    if part >= 0:
        _fit_part(payload, payload[key][0], part, limit, encrypt)
    elif isinstance(page, MessagePage):
        _fit_messages(payload, page, limit, encrypt)
    else:
        _fit_page(payload, key, getattr(page, key), limit, encrypt)
    _shorten_all(payload, payload[key][0] if payload[key] else payload, size(payload) - limit)


def _fits(payload: JsonObject, limit: int) -> bool:
    # A page may be a thousand times too large, so count characters before encoding it.
    rows = [row for key in ("messages", "runs") for row in _objects(payload.get(key))]
    return sum(len(holder[key]) for row in rows for holder, key in _long_texts(row)) <= limit and size(payload) <= limit


def _objects(value: Json) -> list[JsonObject]:
    return value if is_array(value) else []


def _long_texts(row: JsonObject) -> list[Slot]:
    """Return the slots of the long texts of a row and of the items in its lists."""
    items = [item for key in _LISTS for item in _objects(row.get(key))]
    return [(holder, key) for holder in (row, *items) for key in _TEXTS if key in holder]


def _all_texts(value: Json) -> Iterator[Slot]:
    """Yield the slots of all texts inside a value."""
    if is_object(value):
        yield from ((value, key) for key, child in value.items() if isinstance(child, str))
    for child in value.values() if is_object(value) else _objects(value):
        yield from _all_texts(child)


def _fit_page(payload: JsonObject, key: str, rows: Sequence[PageItem], limit: int, encrypt: Encrypt) -> None:
    """Leave out rows from the end."""
    kept = _keep_rows(payload, key, rows, range(len(rows)), limit, encrypt)
    if len(kept) < len(rows):
        payload["next_cursor"] = encrypt(rows[kept[-1]].cursor)


def _fit_messages(payload: JsonObject, page: MessagePage, limit: int, encrypt: Encrypt) -> None:
    """Leave out the oldest messages, or those farthest from the message that the page is centred on."""
    rows = page.messages
    last = len(rows) - 1
    middle = next((index for index, row in enumerate(rows) if row.id == page.focus), last)
    if middle < last:
        widest = max((row.id for row in rows), key=size)
        payload["note"] = _note_on_newer(page.note, last, widest, rows[last].id)
    order = sorted(range(len(rows)), key=lambda index: abs(index - middle))
    kept = _keep_rows(payload, "messages", rows, order, limit, encrypt)
    if not kept:
        return
    oldest, newest = kept[0], kept[-1]
    omitted = rows[oldest].skipped if oldest > 0 else page.omitted_messages
    note = page.note
    if newest < last:
        omitted -= rows[newest].skipped
        note = _note_on_newer(note, last - newest, rows[newest].id, rows[last].id)
    if oldest > 0:
        payload["next_cursor"] = encrypt(rows[oldest].cursor)
    for key, value in (("omitted_messages", omitted), ("note", note)):
        payload[key] = value
        if not value:
            del payload[key]


def _note_on_newer(note: str, count: int, newest: str, last: str) -> str:
    newer = f'The {count} newest of this page (after "{newest}") did not fit; around="{last}" shows them.'
    return f"{note} {newer}".strip()


def _keep_rows(
    payload: JsonObject, key: str, rows: Sequence[PageItem], order: Sequence[int], limit: int, encrypt: Encrypt
) -> list[int]:
    """Keep as many rows as fit if all texts are short, by priority. Then use the rest of the room for longer texts.

    `order`: the rows' indexes, the highest priority first. Return the indexes of the rows kept, at least one.
    """
    objects = _objects(payload[key])
    own_cursor = payload.pop("next_cursor", "")
    limit -= max(map(size, (own_cursor, *(encrypt(row.cursor) for row in rows)))) + _CURSOR_ROOM
    payload[key] = []
    room = limit - size(payload)
    kept: list[int] = []
    floors = 0
    for index in order:
        shell, floor = _least_row_size(objects[index])
        if shell + floor > room and kept:
            break
        if shell + floor > room:
            _drop_items(objects[index], shell + floor - room)
            shell, floor = _least_row_size(objects[index])
        kept.append(index)
        room -= shell + floor
        floors += floor
    kept.sort()
    payload[key] = [objects[index] for index in kept]
    _shorten([(row, text) for row in payload[key] for text in _long_texts(row)], floors + max(room, 0))
    if own_cursor:
        payload["next_cursor"] = own_cursor
    return kept


def _least_row_size(row: JsonObject) -> tuple[int, int]:
    texts = _long_texts(row)
    shell, floor = _least_size(row, texts, MIN_TEXT)
    return shell + (_OMITTED_ROOM if any(len(holder[key]) > MIN_TEXT for holder, key in texts) else 0), floor


def _least_size(row: Json, texts: Sequence[Slot], least: int) -> tuple[int, int]:
    """Return the size of a row without its long texts, and the size of the first `least` characters of each text."""
    return size_without(row, texts) + 1, sum(text_size(holder[key][:least]) for holder, key in texts)


def _drop_items(row: JsonObject, over: int) -> None:
    """Remove the last items of a row's lists. A call with `message_id` shows all of them."""
    over += _OMITTED_ROOM
    lost = 0
    for key in _LISTS:
        items = _objects(row.get(key))
        while items and over > 0:
            item = items.pop()
            over -= sum(_least_size(item, _long_texts(item), MIN_TEXT))
            lost += sum(len(holder[name]) for holder, name in _all_texts(item))
        if is_array(row.get(key)) and not items:
            del row[key]
    if lost:
        row["omitted_chars"] = row.get("omitted_chars", 0) + lost


def _shorten_all(holder: JsonObject, row: JsonObject, over: int) -> None:
    """Shorten all texts of `holder`, even ids, if it is still `over` characters too large; count them in the row."""
    if over > 0:
        texts = [(owner, key) for owner, key in _all_texts(holder) if key != "next_cursor"]
        taken = sum(text_size(owner[key]) for owner, key in texts)
        _shorten([(row, text) for text in texts], taken - over - _OMITTED_ROOM)


def _shorten(texts: Sequence[tuple[JsonObject, Slot]], room: int) -> None:
    """Shorten texts, and add the characters cut to `omitted_chars` of each text's row."""
    for (row, _), lost in zip(texts, shorten([text for _, text in texts], room, MIN_TEXT), strict=True):
        if lost:
            row["omitted_chars"] = row.get("omitted_chars", 0) + lost


class _PartText(NamedTuple):
    """A text of a message or run. If it belongs to an item of a list, `listed` is the list's key."""

    text: str
    key: str
    listed: str
    item: JsonObject


def _fit_part(payload: JsonObject, row: JsonObject, start: int, limit: int, encrypt: Encrypt) -> None:
    """Fit one message or run: show its texts in order from the offset `start` on, as far as they fit.

    The offset counts the characters of the texts, plus one for the beginning of each text.
    """
    walk = cursors.walk("part", payload["session_id"], row["id"])
    pieces = _pop_texts(row)
    _shorten_all(payload, row, size(payload) - limit // 2)
    last_cursor = encrypt(cursors.mark(walk, sum(len(piece.text) + 1 for piece in pieces)))
    room = limit - size(payload) - _PART_ROOM - size(last_cursor)
    position = 0
    for piece in pieces:
        begin = max(start - position - 1, 0)
        if start <= position + len(piece.text):
            _shorten_all(piece.item, piece.item, size(piece.item) - limit // 4)
            taken, room = _add_text(row, piece, begin, room)
            if begin + taken < len(piece.text):
                payload["next_cursor"] = encrypt(cursors.mark(walk, position + 1 + begin + taken))
                break
        position += 1 + len(piece.text)


def _pop_texts(row: JsonObject) -> list[_PartText]:
    pieces = [_PartText(row.pop(key), key, "", {}) for key in _TEXTS if key in row]
    for listed, key in _LISTS.items():
        if is_array(row.get(listed)):
            pieces += [_PartText(item.pop(key, ""), key, listed, item) for item in row.pop(listed)]
    return pieces


def _add_text(row: JsonObject, piece: _PartText, begin: int, room: int) -> tuple[int, int]:
    """Put as much of a text as fits back into its row.

    Return the number of its characters (-1 if not even its item fits), and the room left.
    """
    room -= size({**piece.item, piece.key: ""}) + 1
    taken = prefix_length(piece.text[begin : begin + max(room, 0)], room)
    if room < 0 or (piece.text and not taken):
        return -1, room
    text = piece.text[begin : begin + taken]
    if piece.listed:
        row.setdefault(piece.listed, []).append({**piece.item, piece.key: text} if text else piece.item)
    else:
        row[piece.key] = text
    return taken, room - text_size(text)


def _fit_bulk(payload: JsonObject, limit: int) -> None:
    """Shorten errors and names, an error to its code, then leave out rows from the ends of the lists."""
    if size(payload) <= limit:
        return
    lists = {key: payload.pop(key) for key in ("succeeded", "failed", "would_change") if key in payload}
    room = limit - size({**payload, **dict.fromkeys(lists, ())}) - _BULK_NOTE_ROOM
    texts: list[Slot] = []
    floors = 0
    lost: list[str] = []
    for name, rows in lists.items():
        kept: list[Json] = []
        for row in rows:
            own = [(row, key) for key in ("error", "name") if is_object(row) and key in row]
            shell, floor = _least_size(row, own, _MIN_ERROR)
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
    cut = sum(count > 0 for count in shorten(texts, floors + room, _MIN_ERROR))
    lost += [f"the ends of {cut} errors or names"] if cut else []
    payload["note"] = (
        f"{payload.get('note', '')} Left out to fit {limit:,} characters: {', '.join(lost)}."
        " Call again with dry_run=true and fewer session_ids to see each."
    ).strip()
