"""Pages of runs. If AgentOS has previews, only runs whose previews are truncated are read in full."""

from collections.abc import Sequence

from ...errors import NotFound
from ...models import Run, RunPage
from .. import paging
from ..gather import map_concurrently
from .api import Api
from .transcript import read_run, runs_in
from .versions import PREVIEWS

_PREVIEW_LENGTH = 280
"""The most characters of a text in a preview. A text of this length may be truncated."""


async def run_page(api: Api, session_id: str, owner: str, *, run_id: str, limit: int, cursor: str) -> RunPage:
    """Return a page of runs, newest first. The tool calls and tokens of a run are unknown if only a preview is read."""
    has_previews = await api.version() >= PREVIEWS
    runs = await _read_runs(api, session_id, owner)
    page = paging.run_page(session_id, runs, run_id=run_id, limit=limit, cursor=cursor)
    if not has_previews:
        return page

    async def complete(run: Run) -> Run:
        if not run_id and max(len(run.input), len(run.output)) < _PREVIEW_LENGTH:
            return run
        try:
            answer = (await api.run(session_id, owner, run.id)).json()
        except NotFound:
            return run  # removed meanwhile
        (found,) = runs_in([answer])
        return read_run(found).model_copy(update={"cursor": run.cursor})

    return page.model_copy(update={"runs": tuple(await map_concurrently(complete, page.runs))})


async def count_runs(api: Api, session_id: str, owner: str) -> int:
    """Return how many runs a session has, without those inside other runs."""
    runs = await _read_runs(api, session_id, owner)
    return sum(not run.parent_run_id for run in runs)


async def _read_runs(api: Api, session_id: str, owner: str) -> Sequence[Run]:
    fetch = api.previews if await api.version() >= PREVIEWS else api.runs
    return [read_run(run) for run in runs_in((await fetch(session_id, owner)).json())]
