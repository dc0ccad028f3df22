"""Holds changes until they have held: what a run of AgentOS undid when it ended is written again."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import time

import anyio

from ....errors import NotFound, SessionsError, whereabouts
from ....json_documents import JsonObject
from ....models import (
    iso,
)
from ..wire import Stored
from .journal import HOLD_SECONDS, Entry, Journal, next_check
from .values import Held, held_after, with_held

logger = logging.getLogger(__name__)

Rewrite = Callable[[Entry], Awaitable[None]]
_MOST_REWRITES = 5
_IDLE_SECONDS = 30
"""After which the journal is looked at anyhow: a process that ended may have left something."""
_NOT_HELD = "Done. If a run of this session is executing now, AgentOS undoes this when that run ends."


class Keeper:
    """Remembers changes and has them checked; without a journal, nothing is held."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._news = anyio.Event()
        self._let_go = set[str]()
        """Sessions that could not be taken out of the journal, since somebody locks it."""

    def close(self) -> None:
        """Nothing more is held. What is in the journal stays there, for whoever comes with its credential next."""
        self._journal = None

    def holds_anything(self) -> bool:
        try:
            return self._journal is not None and self._journal.next_due() is not None
        except sqlite3.Error:
            return False

    def hold(self, owner: str, made: Stored, before: JsonObject, after: JsonObject, taken: Entry | None) -> str:
        """Hold a change that made the session what it is; what a caller is to know of it. `taken`: what was held."""
        if self._journal is None:
            return self.notice()
        now = time()
        try:
            with self._journal.alone():
                known = self.current(made.id) or taken
                held = held_after(_still_held(known, made, now), before, after, now)
                entry = Entry(made.id, owner, held, now, progress=made.progress, born=made.born)
                self._journal.put(entry, next_check(now, now))
        except sqlite3.Error as error:
            logger.warning("A change can't be put into the journal: %s", error)
            return _NOT_HELD
        self._let_go.discard(made.id)
        self._news.set()
        return self.notice()

    def take(self, session_id: str) -> Entry | None:
        """Let go of what is held while it is changed: what becomes of it may never be known."""
        entry = self._entry(session_id)
        if entry is not None:
            self.forget(session_id)
        return entry

    def put_back(self, entry: Entry | None) -> None:
        """Hold it again: nothing was changed."""
        if self._journal is not None and entry is not None:
            self._let_go.discard(entry.session_id)
            try:
                self._journal.put(entry, next_check(entry.since, time()))
            except sqlite3.Error as error:
                logger.warning("A change can't be put back into the journal: %s", error)

    def notice(self) -> str:
        """What is not settled about a change that was just made."""
        if self._journal is None:
            return _NOT_HELD
        until = iso(datetime.fromtimestamp(time() + HOLD_SECONDS, UTC))
        return (
            "Done. If a run of this session is executing now, AgentOS undoes this when that run ends; it is then set "
            f"again, until {until}."
        )

    def forget(self, session_id: str) -> None:
        if self._journal is not None:
            try:
                self._journal.drop(session_id)
                self._let_go.discard(session_id)
            except sqlite3.Error as error:
                self._let_go.add(session_id)
                logger.warning("A session can't be taken out of the journal: %s", error)

    def undone(self, stored: Stored) -> list[Held]:
        """What of the held changes is undone in the session as it was just read."""
        entry = self._entry(stored.id)
        if entry is None or entry.born != stored.born:
            return []
        return [item for item in entry.held if is_undone(item, stored)]

    def meant(self, stored: Stored) -> Stored:
        """The session as the held changes left it."""
        undone = self.undone(stored)
        return replace(stored, **with_held(stored.document, undone)) if undone else stored

    def has_run(self, stored: Stored) -> bool:
        """Whether a run has ended since the session's changes were last seen to hold."""
        entry = self._entry(stored.id)
        return entry is not None and entry.progress != stored.progress

    def may_rewrite(self, entry: Entry, stored: Stored) -> bool:
        """Whether what is undone is a run's doing: it ended since, or, once, and soon, may have without a trace."""
        return entry.progress != stored.progress or (entry.guessed == 0 and not entry.is_over)

    def checked(self, entry: Entry, stored: Stored, rewritten: list[Held]) -> None:
        """Keep what must be checked again: no longer what others have set since."""
        if self._journal is None:
            return
        kept = [item for item in entry.held if item in rewritten or item.holds(stored.document)]
        if len(kept) < len(entry.held):
            logger.info("Session %s was changed by others; their change stays.", entry.session_id)
        if rewritten:
            fields = sorted({".".join(item.path) for item in rewritten})
            logger.info("Session %s: a run undid %s, which was set again.", entry.session_id, ", ".join(fields))
        is_guess = bool(rewritten) and entry.progress == stored.progress
        left = replace(
            entry,
            held=kept,
            rewritten=entry.rewritten + bool(rewritten),
            guessed=entry.guessed + is_guess,
            progress=stored.progress,
        )
        with self._journal.alone():
            if self._journal.entry(entry.session_id) != entry:
                return  # another process holds more of this session by now, and has it checked
            if not kept or left.rewritten >= _MOST_REWRITES or (entry.is_over and not rewritten):
                self._journal.drop(entry.session_id)
            else:
                self._journal.put(left, next_check(time() if rewritten else entry.since, time()))

    def current(self, session_id: str) -> Entry | None:
        """What is held of a session now."""
        if self._journal is None or session_id in self._let_go:
            return None
        return self._journal.entry(session_id)

    def _entry(self, session_id: str) -> Entry | None:
        try:
            return self.current(session_id)
        except sqlite3.Error as error:
            logger.warning("The journal of changes can't be read: %s", error)
            return None

    async def run(self, check: Rewrite) -> None:
        """Check what is due, for ever."""
        while self._journal is not None:
            self._news = anyio.Event()
            try:
                for session_id in list(self._let_go):
                    self.forget(session_id)
                for entry in self._journal.claim_due():
                    began = anyio.current_time()
                    await self._check(entry, check)
                    await anyio.sleep(anyio.current_time() - began)  # half of the time is the callers'
                due = self._journal.next_due()
            except Exception as error:
                logger.error("The journal of changes could not be worked on: %s", whereabouts(error))
                due = time() + 60
            soon = _IDLE_SECONDS if due is None else max(due - time(), 0)
            with anyio.move_on_after(min(soon, _IDLE_SECONDS)):
                await self._news.wait()

    async def _check(self, entry: Entry, check: Rewrite) -> None:
        try:
            await check(entry)
        except NotFound:
            self.forget(entry.session_id)
        except SessionsError as error:
            logger.info("Session %s could not be checked: %s", entry.session_id, error.code)
            if entry.is_over:
                self.forget(entry.session_id)


def _still_held(known: Entry | None, made: Stored, now: float) -> list[Held]:
    """What is held beside a change that was just made: of this session, not for too long, and not given up."""
    if known is None or known.born != made.born:
        return []
    held = [item for item in known.held if 0 <= now - item.since <= HOLD_SECONDS]
    # What a guess has written again once, and is undone once more, is somebody's will.
    return [item for item in held if not (known.guessed and is_undone(item, made))]


def is_undone(item: Held, stored: Stored) -> bool:
    """A name is undone too where AgentOS shows a session's first words, as it does for one without a name."""
    if item.path == ("name",) and stored.is_named_by_its_first_words and item.new != (stored.name,):
        return True
    return item.is_undone(stored.document)
