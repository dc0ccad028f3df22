"""Claude Code's sessions as a search index reads them."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from ..transcript_feed import FileState, MessageAtPosition, OpenTranscript, Position
from ..transcripts.lines import TranscriptFile, open_transcript
from .catalogue import Catalogue
from .chain import ChainStart
from .conversation import Conversation


class ClaudeCodeFeed:
    """The transcripts of the sessions in a folder. Those of subagents are not among them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._contents = catalogue.contents()
        self.states: Mapping[str, FileState] = self._contents.states
        self.unreadable = catalogue.unreadable

    @contextmanager
    def open(self, session_id: str, stops_at: float) -> Generator[OpenTranscript | None]:
        file = self._contents.file(session_id)
        self._catalogue.stops_at = stops_at
        facts = self._catalogue.facts(file)
        if not facts.is_session:
            yield None
            return
        with open_transcript(file.path, stops_at) as opened:
            head = facts.head
            messages = partial(_messages, opened)
            yield OpenTranscript(facts.title, head.created_at, messages, head.project, ids_are_unique=True)


def _messages(opened: TranscriptFile, position: Position) -> Iterator[MessageAtPosition]:
    return Conversation(opened).texts(ChainStart(*position))
