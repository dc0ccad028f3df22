"""Indexes sessions that are files, and reads hits in them.

A file that grew is read from its end to the newest message that is indexed. What comes before is as it was, since
nothing in a transcript is changed. So an appended message costs its own bytes.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

import anyio

from ....errors import Invalid, NotFound, SessionsError, Timeout
from ....models import HistoryQuery
from ....text.sanitize import sanitize
from ...base import SessionBackend
from ...database.database import Transaction
from ...database.times import now_micros
from ...deadline import remaining
from ...gather import map_concurrently
from ...transcript_feed import NEWEST, OpenTranscript, TranscriptFeed, TranscriptState, bases_in
from . import tables
from .labels import labels_of
from .source import Coverage, FoundText, Progress, found_message, micros
from .store import IndexStore
from .tables import Place, Text

_KNOWN = 64
"""How many indexed messages of a session are looked at to find where a file was continued."""
_BATCH_CHARACTERS = 2_000_000
_BATCH_SESSIONS = 200
_BATCH_SECONDS = 0.5
_MAX_LOST = 10
"""Up to so many sessions are removed even if no file is left: more of them may be on a disk that is missing."""
_NOT_SEARCHED = ("system", "tool")
_Waiting = deque[tuple[str, TranscriptState]]
_Known = Mapping[str, Mapping[str, tuple[bytes, int]]]
"""session id → message id → the digest and number of one of its newest messages."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of a session. `after`: the number of the message that it follows, 0 if all of it was read.

    `position` is where that message is to be read now. `texts` is None if the file can't be read. `labels` are those of
    its texts in the index.
    """

    session_id: str
    state: TranscriptState
    labels: str = ""
    name: str = ""
    texts: Sequence[Text] | None = ()
    after: int = 0
    position: str = ""
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptSource:
    """The sessions of a backend with files. All of them are one user's."""

    backend: SessionBackend
    feed: TranscriptFeed
    store: IndexStore
    name: str
    progress: Progress

    async def update(self, stops_at: float) -> Coverage:
        indexed, marks = await self.store.scan(
            lambda tx: (tables.states(tx, self.name), tables.marks(tx, self.name, ""))
        )
        states = dict(self.feed.states)
        for session_id in states.keys() & indexed.keys():
            if bases := bases_in(indexed[session_id]):
                states[session_id] = states[session_id].with_bases(bases, self.feed.states)
        await self._drop(indexed.keys() - states.keys(), len(indexed))
        changed = [item for item in states.items() if indexed.get(item[0]) != item[1].state]
        if not changed and marks:
            return Coverage(unreadable=self.feed.unreadable)
        known = {key for key in indexed.keys() & states.keys() if states[key].continues(indexed[key])}
        waiting = deque(sorted(changed, key=lambda item: -item[1].changed_at))
        await self._index(waiting, known, time.monotonic() + stops_at - anyio.current_time())
        if not waiting:
            now = now_micros()
            await self.store.write(lambda tx: tables.set_marks(tx, self.name, "", now, now))
        return Coverage(len(waiting), unreadable=self.feed.unreadable)

    async def _drop(self, gone: AbstractSet[str], count: int) -> None:
        """Remove sessions whose files are gone. Remove none if all are gone, since a disk may be missing."""
        if not gone or self.feed.unreadable or (len(gone) == count > _MAX_LOST):
            return

        def drop(tx: Transaction) -> None:
            for session_id in gone:
                tables.drop_session(tx, self.name, session_id)

        await self.store.write(drop)

    async def _index(self, waiting: _Waiting, known_ids: AbstractSet[str], stops_at: float) -> None:
        """Read and index sessions until a time, and remove them from `waiting`. Read some while others are written.

        `known_ids` are those of sessions of which an earlier state is indexed.
        """
        total = len(waiting)
        batch: list[_Reading] = []

        async def write() -> list[_Reading]:
            if batch:
                await self.store.write(lambda tx: self._write(tx, batch))
            return []

        async def read() -> list[_Reading]:
            return await anyio.to_thread.run_sync(self._read_batch, waiting, known, stops_at)

        while True:
            ids = [session_id for session_id, _ in list(waiting)[:_BATCH_SESSIONS] if session_id in known_ids]
            known = await self._known(ids)
            done = total - len(waiting)
            _, batch = await map_concurrently(lambda work: work(), (write, read))
            if done:
                await self.progress(done, total)
            if not batch:
                return

    async def _known(self, ids: Sequence[str]) -> _Known:
        def read(tx: Transaction) -> _Known:
            return {session_id: tables.newest(tx, self.name, session_id, _KNOWN) for session_id in ids}

        return await self.store.scan(read)

    def _read_batch(self, waiting: _Waiting, known: _Known, stops_at: float) -> list[_Reading]:
        """Read sessions, and remove them from `waiting`. Return none if there is no time left."""
        batch: list[_Reading] = []
        ends, characters = min(time.monotonic() + _BATCH_SECONDS, stops_at), 0
        while waiting and len(batch) < _BATCH_SESSIONS and characters < _BATCH_CHARACTERS and time.monotonic() < ends:
            session_id, state = waiting[0]
            try:
                reading = self._read(session_id, state, known.get(session_id, {}), stops_at)
            except Timeout:
                return batch
            waiting.popleft()
            batch.append(reading)
            characters += sum(len(text.text) for text in reading.texts or ())
        return batch

    def _read(
        self, session_id: str, state: TranscriptState, known: Mapping[str, tuple[bytes, int]], stops_at: float
    ) -> _Reading:
        try:
            with self.feed.open(session_id, stops_at) as transcript:
                if transcript is None:
                    return _Reading(session_id, state)
                state = self.feed.states[session_id].with_bases(transcript.bases, self.feed.states)
                labels = labels_of(self.name, "", transcript.project)
                return _read(session_id, state, transcript, known, labels)
        except Timeout:
            raise
        except NotFound:
            return _Reading(session_id, state, is_gone=True)
        except SessionsError:
            return _Reading(session_id, state, texts=None)

    def _write(self, tx: Transaction, batch: Sequence[_Reading]) -> None:
        for reading in batch:
            if reading.is_gone:
                tables.drop_session(tx, self.name, reading.session_id)
                continue
            is_readable = reading.texts is not None
            # One that can't be read is tried again by each update.
            state, changed_at = reading.state.state if is_readable else "", reading.state.changed_at
            key = tables.put_row(
                tx, self.name, reading.session_id, "", changed_at, is_readable=is_readable, state=state
            )
            if reading.after:
                tables.set_position(tx, key, reading.after, reading.position)
            tables.put_texts(tx, reading.labels, key, reading.texts or (), above=reading.after)
            tables.put_part(tx, reading.labels, key, Text("name", "", changed_at, reading.name))

    async def read(self, places: Sequence[Place]) -> Sequence[FoundText | None]:
        stops_at = time.monotonic() + remaining(self.backend.options.timeout)
        unreadable: set[str] = set()
        found = await anyio.to_thread.run_sync(
            lambda: [self._read_place(place, stops_at, unreadable) for place in places]
        )
        for session_id in unreadable:
            await self.store.write(partial(tables.mark_unreadable, source=self.name, session_id=session_id))
        there = self.feed.states.keys() - unreadable
        return [
            text or (await self._look_for(place) if place.session_id in there else None)
            for place, text in zip(places, found, strict=True)
        ]

    def _read_place(self, place: Place, stops_at: float, unreadable: set[str]) -> FoundText | None:
        """Return the text at a place, or None if it has to be looked for. Add a session that can't be read."""
        if place.session_id not in self.feed.states:
            return None
        try:
            with self.feed.open(place.session_id, stops_at) as transcript:
                if transcript is None:
                    return None
                if place.part == "name":
                    return FoundText(transcript.name, "", transcript.created_at, transcript.name)
                placed = next(transcript.messages(_numbers(place.position)), None)
                is_found = placed is not None and placed.message.id == place.message_id
                return found_message(transcript.name, placed.message) if placed and is_found else None
        except (Invalid, NotFound):
            return None
        except Timeout:
            raise
        except SessionsError:
            unreadable.add(place.session_id)
            return None

    async def _look_for(self, place: Place) -> FoundText | None:
        """Return a text by way of the backend, which reads more of the file."""
        try:
            session = await self.backend.get_session(place.session_id)
            if place.part == "name":
                return FoundText(session.name, "", session.created_at, session.name)
            query = HistoryQuery(message_id=place.message_id)
            page = await self.backend.get_session_history(place.session_id, query)
            return found_message(session.name, page.messages[0])
        except NotFound:
            return None


def _read(
    session_id: str,
    state: TranscriptState,
    transcript: OpenTranscript,
    known: Mapping[str, tuple[bytes, int]],
    labels: str,
) -> _Reading:
    """Read the messages that are not among the `known` ones, which are the newest that are indexed."""
    found: list[Text] = []
    after, position = 0, ""
    for placed in transcript.messages(NEWEST):
        message = placed.message
        if message.role in _NOT_SEARCHED or not message.text:
            continue
        position = " ".join(map(str, placed.position))
        created_at = micros(message.created_at) or state.changed_at
        text = Text(
            "message",
            message.id,
            created_at,
            sanitize(message.text, redact_credentials=True),
            1,
            position,
            placed.origin,
        )
        digest, number = known.get(message.id, (b"", 0))
        if number and digest == text.digest(labels):
            after = number
            break
        found.append(text)
    texts = [text._replace(number=number) for number, text in enumerate(reversed(found), after + 1)]
    name = sanitize(transcript.name, redact_credentials=True)
    return _Reading(session_id, state, labels, name, texts, after, position)


def _numbers(position: str) -> tuple[int, ...]:
    return tuple(map(int, position.split()))
