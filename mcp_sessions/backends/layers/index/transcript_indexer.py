"""Indexes sessions that are files, and reads hits in them.

A file that grew is read from its end back to the newest message that is indexed. The part before that is unchanged,
since transcripts only grow. So to index an appended message, only the message itself is read.
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
from ...base import SessionBackend
from ...database.database import Transaction
from ...database.times import now_micros
from ...deadline import remaining
from ...gather import map_concurrently
from ...transcript_feed import FileState, OpenTranscript, TranscriptFeed
from . import tables
from .indexer import FoundText, IndexStatus, Progress, found_message
from .labels import labels_of
from .session_texts import SessionTexts, read_texts
from .store import OpenIndex
from .tables import Place
from .texts import NewText, Text, insert_texts

_KNOWN = 64
"""How many indexed messages of a session are looked at to find where a file was continued."""
_BATCH_CHARACTERS = 1_000_000  # more let reading and writing overlap less
_BATCH_SESSIONS = 200
_BATCH_SECONDS = 0.5
_MAX_LOST = 10
"""If no file is left, at most so many sessions are removed: more may be on a disk that is missing."""
_Waiting = deque[tuple[str, FileState]]
_Known = Mapping[str, Mapping[str, tuple[bytes, int]]]
"""session id → message id → the digest and number of one of its newest messages."""


@dataclass(frozen=True, slots=True)
class TranscriptIndexer:
    """Indexes and reads the sessions of a backend with files. All of them are one user's."""

    backend: SessionBackend
    feed: TranscriptFeed
    index: OpenIndex
    name: str
    progress: Progress

    async def update(self, stops_at: float) -> IndexStatus:
        known = await self.index.known_states(self.name, self.feed.states)
        if known.files is self.feed.states and known.is_complete:
            return IndexStatus(unreadable=self.feed.unreadable)
        indexed = known.states
        current = self.feed.states
        with_bases = {
            id: current[id].with_bases(state.base_ids, current)
            for id, state in indexed.items()
            if state.bases and id in current
        }
        states = {**current, **with_bases} if with_bases else current
        if indexed == states and known.is_complete:
            # The next comparison is faster if most of the states are the same objects.
            self.index.remember_states(self.name, known._replace(states=states, files=current))
            return IndexStatus(unreadable=self.feed.unreadable)
        is_swept = await self._drop(indexed.keys() - states.keys(), len(indexed))
        changed = [item for item in states.items() if indexed.get(item[0]) != item[1]]
        continued = {id for id, state in changed if id in indexed and state.may_continue(indexed[id])}
        waiting = deque(sorted(changed, key=lambda item: -item[1].mtime))
        read = await self._index(waiting, continued, time.monotonic() + stops_at - anyio.current_time())
        if not changed:
            await self.index.write_update(self._mark_as_complete)
        if is_swept and not waiting and not await self.index.scan(lambda tx: tables.unreadable(tx, self.name, "")):
            self.index.remember_states(self.name, known._replace(states={**states, **read}, is_complete=True))
        return IndexStatus(len(waiting), unreadable=self.feed.unreadable)

    def _mark_as_complete(self, tx: Transaction) -> None:
        now = now_micros()
        tables.set_marks(tx, self.name, "", now, now)

    async def _drop(self, gone: AbstractSet[str], count: int) -> bool:
        """Remove sessions whose files are gone. Remove none if all are gone, since a disk may be missing.

        Return whether none is left.
        """
        if not gone:
            return True
        if self.feed.unreadable or (len(gone) == count > _MAX_LOST):
            return False

        def drop(tx: Transaction) -> None:
            for session_id in gone:
                tables.drop_session(tx, self.name, session_id)

        await self.index.write_update(drop)
        return True

    async def _index(self, waiting: _Waiting, known_ids: AbstractSet[str], stops_at: float) -> dict[str, FileState]:
        """Read and index sessions until a time, and remove them from `waiting`. Read some while others are written.

        `known_ids` are those of sessions of which an earlier state is indexed. Return the states that were read.
        """
        total = len(waiting)
        states: dict[str, FileState] = {}
        batch: list[SessionTexts] = []
        is_last = False

        async def write() -> list[SessionTexts]:
            if batch:
                await self.index.write_update(lambda tx: self._write(tx, batch, is_last=is_last))
            return []

        async def read() -> list[SessionTexts]:
            return await anyio.to_thread.run_sync(self._read_batch, waiting, known, stops_at) if waiting else []

        while True:
            ids = [session_id for session_id, _ in list(waiting)[:_BATCH_SESSIONS] if session_id in known_ids]
            known: _Known = await self._known(ids) if ids else {}
            done = total - len(waiting)
            is_last = not waiting
            _, batch = await map_concurrently(lambda work: work(), (write, read))
            if done:
                await self.progress(done, total)
            if not batch:
                return states
            states |= {reading.session_id: reading.state for reading in batch}

    async def _known(self, ids: Sequence[str]) -> _Known:
        def read(tx: Transaction) -> _Known:
            return {session_id: tables.newest(tx, self.name, session_id, _KNOWN) for session_id in ids}

        return await self.index.scan(read)

    def _read_batch(self, waiting: _Waiting, known: _Known, stops_at: float) -> list[SessionTexts]:
        """Read sessions, and remove them from `waiting`. Return none if there is no time left."""
        batch: list[SessionTexts] = []
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
        self, session_id: str, state: FileState, known: Mapping[str, tuple[bytes, int]], stops_at: float
    ) -> SessionTexts:
        try:
            with self.feed.open(session_id, stops_at) as transcript:
                if transcript is None:
                    return SessionTexts(session_id, state)
                state = self.feed.states[session_id].with_bases(transcript.bases, self.feed.states)
                labels = labels_of(self.name, "", transcript.project)
                return read_texts(session_id, state, transcript, known, labels)
        except Timeout:
            raise
        except NotFound:
            return SessionTexts(session_id, state, is_gone=True)
        except SessionsError:
            return SessionTexts(session_id, state, texts=None)

    def _write(self, tx: Transaction, batch: Sequence[SessionTexts], *, is_last: bool) -> None:
        for session in batch:
            if session.is_gone:
                tables.drop_session(tx, self.name, session.session_id)
        sessions = [session for session in batch if not session.is_gone]
        keys, added = tables.put_rows(tx, self.name, [session.row for session in sessions])
        new: list[NewText] = []
        for session in sessions:
            key, labels, texts = keys[session.session_id], session.labels, session.texts or ()
            name = Text("name", "", session.created_at or session.state.changed_at, session.name)
            if session.session_id in added:  # there is nothing to replace
                names = [name] if name.text else []
                new += [NewText(key, labels, text, text.digest(labels)) for text in (*texts, *names)]
                continue
            if session.after:
                tables.set_position(tx, key, session.after, session.position)
            new += tables.replace_texts(tx, labels, key, texts, above=session.after)
            new += tables.replace_part(tx, labels, key, name)
        insert_texts(tx, new)
        if is_last:  # in the same transaction, since each waits for the disk
            self._mark_as_complete(tx)

    async def read(self, places: Sequence[Place]) -> Sequence[FoundText | None]:
        stops_at = time.monotonic() + remaining(self.backend.options.timeout)
        found, unreadable = await anyio.to_thread.run_sync(self._read_places, places, stops_at)
        for session_id in unreadable:
            await self.index.write(partial(tables.mark_unreadable, source=self.name, session_id=session_id))
        there = {place.session_id for place in places if place.session_id not in unreadable} & self.feed.states.keys()
        return [
            found.get(place) or (await self._look_for(place) if place.session_id in there else None) for place in places
        ]

    def _read_places(self, places: Sequence[Place], stops_at: float) -> tuple[dict[Place, FoundText], set[str]]:
        """Return the texts that are still at their places, and the sessions that can't be read. Open each file once."""
        by_session: dict[str, list[Place]] = {}
        for place in places:
            by_session.setdefault(place.session_id, []).append(place)
        found: dict[Place, FoundText] = {}
        unreadable: set[str] = set()
        for session_id in by_session.keys() & self.feed.states.keys():
            try:
                with self.feed.open(session_id, stops_at) as transcript:
                    texts = ((place, _text_at(place, transcript)) for place in by_session[session_id])
                    found |= {place: text for place, text in texts if text}
            except Timeout:
                raise
            except NotFound:
                continue
            except SessionsError:
                unreadable.add(session_id)
        return found, unreadable

    async def _look_for(self, place: Place) -> FoundText | None:
        """Return a text through the backend, which reads more of the file."""
        try:
            session = await self.backend.get_session(place.session_id)
            if place.part == "name":
                return FoundText(session.name, "", session.created_at, session.name)
            query = HistoryQuery(message_id=place.message_id)
            page = await self.backend.get_session_history(place.session_id, query)
            return found_message(session.name, page.messages[0])
        except NotFound:
            return None


def _text_at(place: Place, transcript: OpenTranscript | None) -> FoundText | None:
    """Return the text at a place, or None if it is not there any more."""
    if transcript is None:
        return None
    if place.part == "name":
        return FoundText(transcript.name, "", transcript.created_at, transcript.name)
    try:
        placed = next(transcript.messages(tuple(map(int, place.position.split()))), None)
    except Invalid:
        return None
    is_found = placed is not None and placed.message.id == place.message_id
    return found_message(transcript.name, placed.message) if placed and is_found else None
