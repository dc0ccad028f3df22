"""Labels of texts in the index: words that stand for a source, one of its users, and folders."""

from collections.abc import Sequence
from hashlib import blake2b

from ...project_filter import folder_parts, project_parts


def labels_of(source: str, owner: str, project: str) -> str:
    """Return words that stand for the source and the owner of a session, and for each folder that its project is in."""
    parts = folder_parts(project)
    return _labels(source, owner, [parts[: count + 1] for count in range(len(parts))])


def searched_labels(source: str, owner: str, project: str) -> str:
    """Return the labels that a text must have to be searched. "" as owner or project stands for all."""
    parts = project_parts(project)
    return _labels(source, owner, [parts] if parts else [])


def _labels(source: str, owner: str, folders: Sequence[Sequence[str]]) -> str:
    words = [f"s{_digest(source)}", *([f"u{_digest(owner)}"] if owner else ())]
    return " ".join([*words, *(f"p{_digest(chr(0).join(parts))}" for parts in folders)])


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
