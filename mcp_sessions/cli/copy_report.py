"""What `mcp-sessions copy` prints at its end."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from mcp_sessions.backends.session_copy import TEMPORARY, SessionCopyResult
from mcp_sessions.backends.sql.store_copy import CopyResult
from mcp_sessions.errors import excerpt, replace_unprintable

AGAIN = "Run the same command again to continue."
_SHOWN = 20  # ids


def report_store_copy(copied: CopyResult) -> int:
    """Print the result of copying a store into a store. Return the exit status."""
    if copied.different_ids:
        _warn(
            f"not the same in both stores: {_listed(copied.different_ids)}. They were changed in one of them since "
            "they were copied, and were left unchanged. Copy into an empty store, while nothing changes the source."
        )
        return 1
    print(_summary(copied.sessions, copied.messages, copied.already_there, copied.without_user))
    return 0


def report_session_copy(copied: SessionCopyResult, source: str, target: str) -> int:
    """Print the result of any other copy, between the systems of these names. Return the exit status."""
    print(_summary(copied.sessions, copied.messages, copied.already_there, copied.without_user))
    for what, counts in (
        (f"Not copied, since {target} doesn't store it", copied.absent),
        (f"Not copied, since {source} doesn't return it", copied.unread),
        (f"Changed, since {target} can't store it otherwise", copied.changed),
    ):
        if +counts:
            print(f"{what}: {_counted(counts)}.")
    problems = list(_problems(copied, source))
    for problem in problems:
        _warn(problem)
    return 1 if problems else 0


def _problems(copied: SessionCopyResult, source: str) -> Iterator[str]:
    """Yield a sentence for each problem: sessions that differ or could not be copied, and incomplete lists."""
    if copied.different:
        differences = [f"{excerpt(id)} ({', '.join(fields)})" for id, fields in copied.different.items()]
        yield (
            f"not the same in both: {_listed(differences)}. They were changed in one of them since they were copied, "
            "and were left unchanged. If the source only has new messages, run the same command again. To copy a "
            "session again, delete its copy first."
        )
    ids: dict[str, list[str]] = {}
    for id, error in copied.failed.items():
        again = f" {AGAIN}" if isinstance(error, TEMPORARY) else ""
        ids.setdefault(f"{error}{again}", []).append(excerpt(id))
    for text, failed in ids.items():
        yield f"not copied: {_listed(failed)}. {text}"
    for note in sorted(copied.list_notes):
        if "next_cursor" not in note:  # such a note only says that a page ended early
            yield f"the list of {source} is not complete: {note}"


def _summary(sessions: int, messages: int, already_there: int, without_user: int) -> str:
    there = f"; {already_there:,} of the sessions were there already" if already_there else ""
    note = ""
    if without_user:
        who, them = ("1 of them has", "it") if without_user == 1 else (f"{without_user:,} of them have", "them")
        note = f" {who} no user: authenticated callers don't see {them}."
    same = "1 session" if sessions == 1 else f"{sessions:,} sessions"
    with_messages = "1 message" if messages == 1 else f"{messages:,} messages"
    return f"{same} with {with_messages} {'is' if sessions == 1 else 'are'} the same in both{there}.{note}"


def _counted(counts: Counter[str]) -> str:
    return "; ".join(f"{replace_unprintable(kind)} ({count:,})" for kind, count in (+counts).items())


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"


def _warn(text: str) -> None:
    print(f"mcp-sessions: {replace_unprintable(text)}", file=sys.stderr)
