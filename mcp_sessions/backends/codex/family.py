"""The threads that a change of another thread concerns, those of its subagents and its forks, and how they are now."""

from collections.abc import Sequence

from .catalogue import Catalogue, Entry


def with_subagents(catalogue: Catalogue, entry: Entry) -> list[Entry]:
    """Return a thread, then the threads of its subagents and of theirs, which Codex archives and deletes with it."""
    children: dict[str, list[Entry]] = {}
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


def forks_of(catalogue: Catalogue, family: Sequence[Entry]) -> list[str]:
    """Return the ids of other threads whose files continue one of these threads."""
    ids = {member.id for member in family}
    return [
        other.id
        for other in catalogue.ordered("created_asc")
        if other.id not in ids and not ids.isdisjoint(_bases(catalogue, other))
    ]


def _bases(catalogue: Catalogue, entry: Entry) -> list[str]:
    """Return the ids of the threads that the files of a thread continue."""
    found = [entry._replace(file=file) for file in entry.thread.files]
    metas = [catalogue.facts(one).meta for one in found if catalogue.is_thread(one)]
    return [meta.base.thread_id for meta in metas if meta is not None and meta.base is not None]
