"""Calls several members concurrently, and collects their results and errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import anyio

from ....errors import SessionsError
from .ids import copy_error
from .members import Member

T = TypeVar("T")


@dataclass(frozen=True)
class MemberAnswers(Generic[T]):
    """The results of the members that succeeded and the errors of those that failed, in the order of the members."""

    results: Mapping[Member, T]
    errors: Mapping[Member, SessionsError]

    def require_one(self) -> None:
        """Raise the first member's error if all failed."""
        if self.errors and not self.results:
            raise copy_error(next(iter(self.errors.values())))

    def note(self) -> str:
        """Return a sentence for each error, naming all members that failed with it, "" if none failed."""
        texts = {member: error.message.removeprefix(f"{member.label} ") for member, error in self.errors.items()}
        return " ".join(
            f"The sessions of {labels} are missing: {text}" for text, labels in labels_by_text(texts).items()
        )


def join_notes(notes: Mapping[Member, str]) -> str:
    """Return the members' notes as one text. If there are several members, each note begins with its members' labels.

    A note that several members gave appears once.
    """
    by_text = labels_by_text({member: note for member, note in notes.items() if note})
    return " ".join(f"{labels}: {note}" if len(notes) > 1 else note for note, labels in by_text.items())


def labels_by_text(texts: Mapping[Member, str]) -> Mapping[str, str]:
    """Return each text once, with the labels of all members that it is from."""
    labels: dict[str, list[str]] = {}
    for member, text in texts.items():
        labels.setdefault(text, []).append(member.label)
    return {text: " and ".join(names) for text, names in labels.items()}


async def ask_all(
    members: Sequence[Member], work: Callable[[Member], Awaitable[T]], seconds: float
) -> MemberAnswers[T]:
    """Call `work` with each member, for at most `seconds`. Skip members that recently failed; return their errors."""
    results: dict[Member, T] = {}
    errors = {member: error for member in members if (error := member.recent_failure()) is not None}
    calls = [(one, one.start_call(partial(work, one), seconds)) for one in members if one not in errors]
    try:
        for member, call in calls:
            answer = await member.result_of(call)
            if isinstance(answer, SessionsError):
                errors[member] = answer
            else:
                results[member] = answer
    finally:
        for member, call in calls:
            member.end_call(call)
    return MemberAnswers(results, {member: errors[member] for member in members if member in errors})


class SharedProgress:
    """Reports the sum of several members' progress, since a client expects one growing number."""

    def __init__(self, report: Callable[[float, str], Awaitable[None]]) -> None:
        self._report = report
        self._done: dict[Member, float] = {}

    def of(self, member: Member) -> Callable[[float, str], Awaitable[None]]:
        """Return the progress callback for a member."""

        async def report(done: float, message: str) -> None:
            self._done[member] = done
            await self._report(sum(self._done.values()), f"{member.label}: {message}")

        return report


async def wait_for_one(
    members: Sequence[Member], wait: Callable[[Member], Awaitable[None]]
) -> tuple[Member, SessionsError] | None:
    """Call `wait` with each member until it returns for one. If it fails for all, return the first member's error."""
    errors: dict[Member, SessionsError] = {}
    async with anyio.create_task_group() as tasks:

        async def wait_for(member: Member) -> None:
            try:
                await wait(member)
            except SessionsError as error:
                errors[member] = error
            else:
                tasks.cancel_scope.cancel()

        for member in members:
            tasks.start_soon(wait_for, member)
    return None if len(errors) < len(members) else (members[0], errors[members[0]])
