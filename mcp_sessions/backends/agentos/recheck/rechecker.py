"""The rechecker: stores pending writes, checks them at growing intervals, and decides what to write again."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import time

import anyio

from ....errors import NotFound, SessionsError, traceback_without_message
from ....json_documents import JsonObject
from ....models import (
    iso,
)
from ..wire import AgentOsSession
from .journal import PENDING_SECONDS, Journal, PendingWrite, next_check_time
from .values import PendingValue, add_pending_values, apply_pending_values

logger = logging.getLogger(__name__)

Recheck = Callable[[PendingWrite], Awaitable[None]]
_MAX_REWRITES = 5
_IDLE_SECONDS = 30
"""How long to wait if nothing is due: a process that ended may have left a pending write in the journal."""
_NOT_RECHECKED = "Done. If a run of this session is executing now, AgentOS overwrites this when that run ends."


class Rechecker:
    """Keeps pending writes in a journal and rechecks them. Without a journal, no write is rechecked."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._wake = anyio.Event()
        self._undeleted = set[str]()
        """Sessions whose pending write could not be deleted from the journal, since another process locked it."""

    def close(self) -> None:
        """Stop rechecking. The journal keeps its pending writes for the next process with this credential."""
        self._journal = None

    def has_pending_writes(self) -> bool:
        """Return whether the journal has pending writes; False if it can't be read."""
        try:
            return self._journal is not None and self._journal.next_due() is not None
        except sqlite3.Error:
            return False

    def add(
        self, owner: str, written: AgentOsSession, before: JsonObject, after: JsonObject, earlier: PendingWrite | None
    ) -> str:
        """Store a pending write of the change from `before` to `after`, and return a note for the caller.

        `written` is the session after the write. `earlier` is its pending write that `pop` returned.
        """
        if self._journal is None:
            return self.note()
        now = time()
        try:
            with self._journal.transaction():
                known = self.pending_write(written.id) or earlier
                values = add_pending_values(_values_still_pending(known, written, now), before, after, now)
                pending = PendingWrite(
                    written.id, owner, values, now, run_progress=written.run_progress, identity=written.identity
                )
                self._journal.put(pending, next_check_time(now, now))
        except sqlite3.Error as error:
            logger.warning("Can't store a change in the journal: %s", error)
            return _NOT_RECHECKED
        self._undeleted.discard(written.id)
        self._wake.set()
        return self.note()

    def pop(self, session_id: str) -> PendingWrite | None:
        """Delete and return the pending write to a session, before a new write whose outcome may stay unknown."""
        pending = self._read(session_id)
        if pending is not None:
            self.delete(session_id)
        return pending

    def put_back(self, pending: PendingWrite | None) -> None:
        """Store again what `pop` returned, after a write that was not made."""
        if self._journal is not None and pending is not None:
            self._undeleted.discard(pending.session_id)
            try:
                self._journal.put(pending, next_check_time(pending.written_at, time()))
            except sqlite3.Error as error:
                logger.warning("Can't store a change in the journal again: %s", error)

    def note(self) -> str:
        """Return the note for a caller whose change was just made: a run may overwrite it."""
        if self._journal is None:
            return _NOT_RECHECKED
        until = iso(datetime.fromtimestamp(time() + PENDING_SECONDS, UTC))
        return (
            "Done. If a run of this session is executing now, AgentOS overwrites this when that run ends; the change "
            f"is then made again, until {until}."
        )

    def delete(self, session_id: str) -> None:
        """Delete the pending write to a session; if the journal is locked, do so later."""
        if self._journal is not None:
            try:
                self._journal.delete(session_id)
                self._undeleted.discard(session_id)
            except sqlite3.Error as error:
                self._undeleted.add(session_id)
                logger.warning("Can't delete a change from the journal: %s", error)

    def overwritten_values(self, session: AgentOsSession) -> list[PendingValue]:
        """Return the pending values that are overwritten in the session as it was just read."""
        pending = self._read(session.id)
        if pending is None or pending.identity != session.identity:
            return []
        return [item for item in pending.values if is_overwritten(item, session)]

    def apply_pending(self, session: AgentOsSession) -> AgentOsSession:
        """Return the session with its overwritten values set again."""
        values = self.overwritten_values(session)
        return replace(session, **apply_pending_values(session.document, values)) if values else session

    def has_run_ended(self, session: AgentOsSession) -> bool:
        """Return whether a run has ended since the session was last seen with our values."""
        pending = self._read(session.id)
        return pending is not None and pending.run_progress != session.run_progress

    def may_rewrite(self, pending: PendingWrite, session: AgentOsSession) -> bool:
        """Return whether a run is the likely cause of overwritten values.

        A run is the likely cause if one has ended since the last check. A run may also end without a trace: assume this
        once, and only until the pending write expires.
        """
        return pending.run_progress != session.run_progress or (pending.guess_count == 0 and not pending.is_expired)

    def save_check(self, pending: PendingWrite, session: AgentOsSession, rewritten: list[PendingValue]) -> None:
        """Store the result of a check: keep the pending values to check again; drop those that others changed.

        `session` is the session before the values in `rewritten` were written again.
        """
        if self._journal is None:
            return
        kept = [item for item in pending.values if item in rewritten or item.is_in(session.document)]
        if len(kept) < len(pending.values):
            logger.info("Session %s was changed by others; their change is kept.", pending.session_id)
        if rewritten:
            fields = sorted({".".join(item.path) for item in rewritten})
            logger.info(
                "Session %s: a run overwrote %s, which was written again.", pending.session_id, ", ".join(fields)
            )
        is_guess = bool(rewritten) and pending.run_progress == session.run_progress
        updated = replace(
            pending,
            values=kept,
            rewrite_count=pending.rewrite_count + bool(rewritten),
            guess_count=pending.guess_count + is_guess,
            run_progress=session.run_progress,
        )
        with self._journal.transaction():
            if self._journal.get(pending.session_id) != pending:
                return  # another process has written to this session since, and will check that write
            if not kept or updated.rewrite_count >= _MAX_REWRITES or (pending.is_expired and not rewritten):
                self._journal.delete(pending.session_id)
            else:
                self._journal.put(updated, next_check_time(time() if rewritten else pending.written_at, time()))

    def pending_write(self, session_id: str) -> PendingWrite | None:
        """Return the pending write to a session. Raise `sqlite3.Error` if the journal can't be read."""
        if self._journal is None or session_id in self._undeleted:
            return None
        return self._journal.get(session_id)

    def _read(self, session_id: str) -> PendingWrite | None:
        """Return the pending write to a session; log an error and return None if the journal can't be read."""
        try:
            return self.pending_write(session_id)
        except sqlite3.Error as error:
            logger.warning("Can't read the journal of changes: %s", error)
            return None

    async def run(self, recheck: Recheck) -> None:
        """Recheck pending writes when they are due, until `close` is called."""
        while self._journal is not None:
            self._wake = anyio.Event()
            try:
                for session_id in list(self._undeleted):
                    self.delete(session_id)
                for pending in self._journal.claim_due():
                    started = anyio.current_time()
                    await self._recheck(pending, recheck)
                    await anyio.sleep(anyio.current_time() - started)  # leave half of the time to callers
                due = self._journal.next_due()
            except Exception as error:
                logger.error("Rechecking the changes in the journal failed: %s", traceback_without_message(error))
                due = time() + 60
            wait = _IDLE_SECONDS if due is None else max(due - time(), 0)
            with anyio.move_on_after(min(wait, _IDLE_SECONDS)):
                await self._wake.wait()

    async def _recheck(self, pending: PendingWrite, recheck: Recheck) -> None:
        try:
            await recheck(pending)
        except NotFound:
            self.delete(pending.session_id)
        except SessionsError as error:
            logger.info("Session %s could not be checked: %s", pending.session_id, error.code)
            if pending.is_expired:
                self.delete(pending.session_id)


def _values_still_pending(known: PendingWrite | None, written: AgentOsSession, now: float) -> list[PendingValue]:
    """Return the earlier pending values of this session to keep after a write: those not expired or given up."""
    if known is None or known.identity != written.identity:
        return []
    values = [item for item in known.values if 0 <= now - item.written_at <= PENDING_SECONDS]
    # A value that was written again on a guess, and is overwritten once more, was set by somebody.
    return [item for item in values if not (known.guess_count and is_overwritten(item, written))]


def is_overwritten(item: PendingValue, session: AgentOsSession) -> bool:
    """Return whether the session has an older value, or, in place of the name we wrote, AgentOS's default name."""
    if item.path == ("name",) and session.has_default_name and item.new != (session.name,):
        return True
    return item.is_overwritten(session.document)
