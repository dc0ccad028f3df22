"""Reads the texts of one session for the index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....text.sanitize import sanitize
from ...transcript_feed import NEWEST, FileState, OpenTranscript
from .indexer import micros
from .tables import IndexRow
from .texts import Text

_NOT_SEARCHED = ("system", "tool")


@dataclass(frozen=True, slots=True)
class SessionTexts:
    """What was read of a session. `texts` are the messages to index, None if the file can't be read.

    `after` is the number of the indexed message before them, 0 if all messages were read. `position` is where that
    message can be read now. `labels` are those of the session's texts in the index. `created_at` is in microseconds, 0
    if it is unknown.
    """

    session_id: str
    state: FileState
    labels: str = ""
    name: str = ""
    created_at: int = 0
    texts: Sequence[Text] | None = ()
    after: int = 0
    position: str = ""
    is_gone: bool = False

    @property
    def row(self) -> IndexRow:
        """The session's row in the index."""
        is_readable = self.texts is not None
        state = str(self.state) if is_readable else ""  # with no state, each update tries to read the session again
        return IndexRow(self.session_id, "", self.state.changed_at, is_readable, state)


def read_texts(
    session_id: str,
    state: FileState,
    transcript: OpenTranscript,
    known: Mapping[str, tuple[bytes, int]],
    labels: str,
) -> SessionTexts:
    """Read a session's messages from the newest one back to one that is `known`.

    `known` has the digests and numbers of the newest indexed messages by their ids.
    """
    found: list[Text] = []
    after, position = 0, ""
    only_here = "" if transcript.ids_are_unique else session_id
    for placed in transcript.messages(NEWEST):
        message = placed.message
        if message.role in _NOT_SEARCHED or not message.text:
            continue
        position = " ".join(map(str, placed.position))
        created_at = micros(message.created_at) or state.changed_at
        text = Text(
            "message",
            message.id,
            created_at,
            sanitize(message.text, redact_credentials=True),
            1,
            position,
            placed.origin,
            only_here,
        )
        digest, number = known.get(message.id, (b"", 0))
        if number and digest == text.digest(labels):
            after = number
            break
        found.append(text)
    texts = [text._replace(number=number) for number, text in enumerate(reversed(found), after + 1)]
    name = sanitize(transcript.name, redact_credentials=True)
    created_at = micros(transcript.created_at)
    return SessionTexts(session_id, state, labels, name, created_at, texts, after, position)
