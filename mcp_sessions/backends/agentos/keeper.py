"""Holds changes until they have held: what a run of AgentOS undid when it ended is written again."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import time

import anyio

from ...errors import NotFound, SessionsError, whereabouts
from ...models import JsonObject, iso
from .held import Held, held_after, with_held
from .journal import HOLD_SECONDS, Entry, Journal, next_check
from .wire import Stored

logger = logging.getLogger(__name__)

Rewrite = Callable[[Entry], Awaitable[None]]
_MOST_REWRITES = 5
_NOT_HELD = "Done. If a run of this session is executing now, AgentOS undoes this when that run ends."


class Keeper:
    """Remembers changes and has them checked; without a journal, nothing is held."""

    def __init__(self, open_journal: Callable[[], Journal] | None) -> None:
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._news = anyio.Event()

    def open(self) -> None:
        self._journal = self._open_journal() if self._open_journal else None

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def hold(self, owner: str, session_id: str, before: JsonObject, after: JsonObject) -> str:
        """Hold a change that was made; what a caller is to know of it."""
        if self._journal is None:
            return self.notice()
        now = time()
        try:
            with self._journal.alone():
                known = self._journal.entry(session_id)
                kept = [item for item in known.held if now <= item.since + HOLD_SECONDS] if known else []
                held = held_after(kept, before, after, now)
                self._journal.put(Entry(session_id, owner, held, now, 0), next_check(now, now))
        except sqlite3.Error as error:
            logger.warning("A change can't be put into the journal: %s", error)
            return _NOT_HELD
        self._news.set()
        return self.notice()

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
            except sqlite3.Error as error:
                logger.warning("A session can't be taken out of the journal: %s", error)

    def undone(self, stored: Stored) -> list[Held]:
        """What of the held changes is undone in the session as it was just read."""
        try:
            entry = self._journal.entry(stored.id) if self._journal is not None else None
        except sqlite3.Error as error:
            logger.warning("The journal of changes can't be read: %s", error)
            return []
        return [item for item in entry.held if is_undone(item, stored)] if entry else []

    def meant(self, stored: Stored) -> Stored:
        """The session as the held changes left it: what a run has undone of them is still to be written again."""
        undone = self.undone(stored)
        return replace(stored, **with_held(stored.document, undone)) if undone else stored

    def checked(self, entry: Entry, stored: Stored, rewritten: list[Held]) -> None:
        """Keep what must be checked again: no longer what others have set since."""
        if self._journal is None:
            return
        document = stored.document
        kept = [item for item in entry.held if item in rewritten or not item.is_overruled(document)]
        if len(kept) < len(entry.held):
            logger.info("Session %s was changed by others; their change stays.", entry.session_id)
        if rewritten:
            fields = sorted({".".join(item.path) for item in rewritten})
            logger.info("Session %s: a run undid %s, which was set again.", entry.session_id, ", ".join(fields))
        count = entry.rewritten + bool(rewritten)
        with self._journal.alone():
            if self._journal.entry(entry.session_id) != entry:
                return  # another process holds more of this session by now, and has it checked
            if not kept or count >= _MOST_REWRITES or (entry.is_over and not rewritten):
                self._journal.drop(entry.session_id)
            else:
                due = next_check(time() if rewritten else entry.since, time())
                self._journal.put(replace(entry, held=kept, rewritten=count), due)

    def current(self, entry: Entry) -> Entry | None:
        """An entry as it is now: changes may have come, or been settled, since it was claimed."""
        return self._journal.entry(entry.session_id) if self._journal is not None else None

    async def run(self, check: Rewrite) -> None:
        """Check what is due, for ever."""
        while self._journal is not None:
            self._news = anyio.Event()
            try:
                for entry in self._journal.claim_due():
                    began = anyio.current_time()
                    await self._check(entry, check)
                    await anyio.sleep(anyio.current_time() - began)  # half of the time is the callers'
                due = self._journal.next_due()
            except Exception as error:
                logger.error("The journal of changes could not be worked on: %s", whereabouts(error))
                due = time() + 60
            with anyio.move_on_after(3600 if due is None else max(due - time(), 0)):
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


def is_undone(item: Held, stored: Stored) -> bool:
    """A name is undone too where AgentOS shows a session's first words, as it does for one without a name."""
    if item.path == ("name",) and stored.is_named_by_its_first_words and item.new != (stored.name,):
        return True
    return item.is_undone(stored.document)
