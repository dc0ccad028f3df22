"""Subagents: the runs that a session started, each with a transcript of its own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import SessionsError, Timeout
from ...models import Run
from ..transcripts.lines import open_transcript, parse
from ..transcripts.values import text_in
from .catalogue import Catalogue
from .conversation import Conversation
from .facts import read_head
from .folder import SessionFile

_MOST_BYTES = 64 * 1024


class SubagentDescription(NamedTuple):
    """What the file beside a subagent's transcript says about it."""

    name: str = ""
    agent_type: str = ""


def read_description(file: SessionFile) -> SubagentDescription:
    """Return the description of a subagent. Claude Code writes one since version 2.1."""
    try:
        with Path(file.path).with_suffix(".meta.json").open("rb") as opened:
            fields = parse(opened.read(_MOST_BYTES)) or {}
    except OSError:
        return SubagentDescription()
    return SubagentDescription(text_in(fields, "description"), text_in(fields, "agentType"))


def agent_runs(catalogue: Catalogue, file: SessionFile) -> Sequence[Run]:
    """Return the runs of a session's subagents, or none for a subagent. Those that can't be read are left out."""
    if "/" in file.id:
        return ()
    return list(_runs(catalogue, file.id))


def agent_files(catalogue: Catalogue, session_id: str) -> Iterator[SessionFile]:
    """Yield the transcripts of a session's subagents. Those that can't be read are left out."""
    for file in catalogue.folder.agents(session_id):
        try:
            if _is_agent_of(catalogue, file, session_id):
                yield file
        except Timeout:
            raise
        except SessionsError:
            continue


def _runs(catalogue: Catalogue, session_id: str) -> Iterator[Run]:
    for file in agent_files(catalogue, session_id):
        try:
            yield _read_run(catalogue, file)
        except Timeout:
            raise
        except SessionsError:
            continue


def _is_agent_of(catalogue: Catalogue, file: SessionFile, session_id: str) -> bool:
    head = catalogue.facts(file, of_subagent=True).head
    return head.is_side and head.session_id == session_id


def _read_run(catalogue: Catalogue, file: SessionFile) -> Run:
    with open_transcript(file.path, catalogue.stops_at) as transcript:
        head = read_head(transcript)
        output, calls, tokens = "", 0, 0
        for item in Conversation(transcript, of_subagent=True).items():
            calls += len(item.message.tool_calls)
            tokens += item.tokens
            if item.message.role == "assistant":
                output = output or item.message.text
    return Run(
        id=file.id,
        agent_id=read_description(file).agent_type,
        status="completed" if output else "",
        created_at=head.created_at,
        input=head.first_prompt,
        output=output,
        tool_calls=calls,
        total_tokens=tokens or None,
    )
