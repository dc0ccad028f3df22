"""The threads that a change of another thread affects, those of its subagents and its forks, and their state."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from ...errors import SessionsError
from .catalogue import Catalogue, CatalogueEntry

_MOST_NAMED = 10


def with_subagents(catalogue: Catalogue, entry: CatalogueEntry) -> list[CatalogueEntry]:
    """Return a thread, then the threads of its subagents and of theirs, which Codex archives and deletes with it."""
    children: dict[str, list[CatalogueEntry]] = {}
    for other in catalogue.ordered("created_asc"):
        meta = catalogue.facts(other).meta
        if meta is not None and meta.is_subagent:
            children.setdefault(meta.parent_id, []).append(other)
    family = [entry]
    for member in family:  # which grows meanwhile
        family += [child for child in children.get(member.id, ()) if child not in family]
    return family


def is_archived(catalogue: Catalogue, thread_id: str) -> bool:
    """Return whether a thread is archived. Raise `NotFound` if there is none."""
    return catalogue.find(thread_id).file.is_archived


def is_active(catalogue: Catalogue, thread_id: str) -> bool:
    """Return whether a thread is not archived. Raise `NotFound` if there is none."""
    return not is_archived(catalogue, thread_id)


def is_deleted(catalogue: Catalogue, thread_id: str) -> bool:
    """Return whether there is no such thread."""
    return thread_id not in catalogue.threads


def filter_threads(
    catalogue: Catalogue, thread_ids: Sequence[str], is_wanted: Callable[[Catalogue, str], bool]
) -> list[str]:
    """Return the threads for which a function returns True. One that can't be read is left out."""
    found: list[str] = []
    for thread_id in thread_ids:
        with suppress(SessionsError):
            found += [thread_id] if is_wanted(catalogue, thread_id) else []
    return found


def note_on_subagents(subagents: Sequence[str], changed: Sequence[str], done: str) -> str:
    """Return a note on the threads of subagents, "" if there are none. `done` is a participle such as `archived`."""
    others = [thread_id for thread_id in subagents if thread_id not in changed]
    notes = [f"The sessions of its subagents were {done} too: {listing(changed)}."] if changed else []
    notes += [f"Codex has not {done} these sessions of its subagents: {listing(others)}."] if others else []
    return " ".join(notes)


def forks_of(catalogue: Catalogue, family: Sequence[CatalogueEntry]) -> list[str]:
    """Return the ids of other threads whose files continue one of these threads."""
    ids = {member.id for member in family}
    return [
        other.id
        for other in catalogue.ordered("created_asc")
        if other.id not in ids and not ids.isdisjoint(_bases(catalogue, other))
    ]


def _bases(catalogue: Catalogue, entry: CatalogueEntry) -> list[str]:
    """Return the ids of the threads that the files of a thread continue."""
    found = [entry._replace(file=file) for file in entry.thread.files]
    metas = [catalogue.facts(one).meta for one in found if catalogue.is_thread(one)]
    bases = [catalogue.thread_with(meta.base.file_id) for meta in metas if meta is not None and meta.base is not None]
    return [base.id for base in bases if base is not None]


def listing(ids: Sequence[str]) -> str:
    """Return ids as a part of a sentence, at most ten of them."""
    named = ", ".join(ids[:_MOST_NAMED])
    return f"{named} and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else named
