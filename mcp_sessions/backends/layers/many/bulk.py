"""Applies an action to sessions of several members, and combines the results."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from ....errors import SessionsError
from ....models import BulkAction, BulkResult, Failure
from ...gather import map_concurrently
from .fan_out import join_notes
from .ids import IdConverter
from .members import Member
from .results import ResultConverter

Apply = Callable[[Member, Sequence[str]], Awaitable[BulkResult]]
"""A function that applies the action to a member's sessions, given by their own ids."""


class MemberResult(NamedTuple):
    """The result of an action on a member's sessions. `asked`, and the ids in `result`, are full ids."""

    member: Member
    asked: Sequence[str]
    result: BulkResult

    def succeeded(self) -> Mapping[str, str]:
        """Return new id → requested id of each session that succeeded, since an action may change a session's id."""
        failed = {failure.session_id for failure in self.result.failed}
        rest = [session_id for session_id in self.asked if session_id not in failed]
        return dict(zip(self.result.succeeded, rest, strict=False))


async def apply_to_members(
    action: BulkAction, groups: Mapping[Member, Sequence[str]], apply: Apply, ids: IdConverter, *, dry_run: bool
) -> list[MemberResult]:
    """Apply the action to all members' sessions. If a member fails as a whole, list each of its sessions as failed."""

    async def apply_to_one(group: tuple[Member, Sequence[str]]) -> MemberResult:
        member, own_ids = group
        convert = ResultConverter(ids, member)
        asked = list(dict.fromkeys(map(convert.full_id, own_ids)))
        try:
            return MemberResult(member, asked, convert.bulk(await apply(member, own_ids)))
        except SessionsError as error:
            text = error.text
        except Exception as error:  # raising it would cancel the other members' changes
            text = member.log_unexpected(error).text
        failed = tuple(Failure(session_id=session_id, error=text) for session_id in asked)
        return MemberResult(member, asked, BulkResult(action=action, dry_run=dry_run, failed=failed))

    return await map_concurrently(apply_to_one, groups.items())


def combine_results(
    action: BulkAction,
    asked: Sequence[str],
    results: Sequence[MemberResult],
    unknown: Sequence[Failure],
    *,
    dry_run: bool,
) -> BulkResult:
    """Return the members' results as one, in the order of `asked`."""
    places = {session_id: place for place, session_id in enumerate(dict.fromkeys(asked))}

    def place(session_id: str) -> int:
        return places.get(session_id, len(places))

    succeeded = {new_id: place(old_id) for one in results for new_id, old_id in one.succeeded().items()}
    failed = [*unknown, *(failure for one in results for failure in one.result.failed)]
    targets = [target for one in results for target in one.result.would_change]
    return BulkResult(
        action=action,
        dry_run=dry_run,
        succeeded=tuple(sorted(succeeded, key=succeeded.__getitem__)),
        failed=tuple(sorted(failed, key=lambda failure: place(failure.session_id))),
        would_change=tuple(sorted(targets, key=lambda target: place(target.session_id))),
        note=join_notes({one.member: one.result.note for one in results}),
    )
