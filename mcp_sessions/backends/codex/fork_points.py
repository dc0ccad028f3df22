"""The turns of a thread after which Codex can fork it, and how to find the fork that Codex made."""

from collections.abc import Container

from ...errors import Invalid, NotFound, Unsupported, quoted
from ...json_documents import JsonObject, object_in
from ..transcripts.history import HistoryItem
from ..transcripts.values import text_in
from .catalogue import Catalogue
from .conversation import Conversation
from .line_types import LineType, line_payload, line_type
from .lineage import Lineage


def turn_ending_with(lineage: Lineage, message_id: str) -> str:
    """Return the id of the turn whose last message this is, "" if it is the last message of the thread.

    Raise `NotFound` if there is no such message, `Invalid` if it is not the last one of a turn, and `Unsupported` if
    the turn has no id.
    """
    newer: HistoryItem | None = None
    for item in Conversation(lineage, names_tools=False).items():
        if item.message.id == message_id:
            break
        if not _is_of_tool(item):
            newer = item
    else:
        raise NotFound(f"this session has no message {quoted(message_id)}. Call get_session_history for valid ids.")
    if newer is None:
        return ""
    turn = _turn_of(lineage, item)
    if not turn:
        raise Unsupported("an old version of Codex wrote this session, which can only be forked as a whole.")
    if _turn_of(lineage, newer) == turn:
        raise Invalid(
            "Codex can fork only after a whole turn, and this message is not the last one of its turn. "
            "Give the id of the last answer before the next prompt."
        )
    return turn


def _is_of_tool(item: HistoryItem) -> bool:
    return item.message.role == "tool" or bool(item.message.tool_calls)


def _turn_of(lineage: Lineage, item: HistoryItem) -> str:
    """Return the id of the turn that a message is part of, "" if it has none."""
    digest, offset, _ = item.position
    part = next(part for part in lineage.parts() if part.digest == digest)
    line = part.opened.line_at(offset)
    turn = text_in(line_payload(line.data), "turn_id") if line is not None else ""
    if turn:
        return turn
    for line in part.opened.backward(offset):
        if line_type(line.data) is LineType.TURN_START:
            return text_in(line_payload(line.data), "turn_id")
    return ""


def find_fork(catalogue: Catalogue, source_id: str, known: Container[str], answer: JsonObject) -> str:
    """Return the id of a thread's new fork, "" if there is none. `known`: the ids of the threads before the fork.

    If Codex's answer was lost, the fork is the new thread that says that it was forked from this one.
    """
    new = [id for id in catalogue.threads if id not in known and catalogue.has(id)]
    given = text_in(object_in(answer, "thread"), "id")
    return given if given in new else next((id for id in new if _source_of(catalogue, id) == source_id), "")


def _source_of(catalogue: Catalogue, thread_id: str) -> str:
    meta = catalogue.facts(catalogue.find(thread_id)).meta
    return meta.parent_id if meta else ""
