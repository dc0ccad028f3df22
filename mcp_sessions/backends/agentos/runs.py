"""Pages of runs: by previews where AgentOS has them, and whole only where a preview is cut."""

from collections.abc import Sequence

from ...errors import NotFound
from ...models import Run, RunPage
from .. import paging
from ..gather import each
from .api import Api
from .transcript import read_run, runs_in
from .versions import Trait
from .wire import Stored

_CUT_AT = 280
"""Characters of a preview's texts; one as long may have been cut."""


async def run_page(
    api: Api, session_id: str, owner: str, type: str, *, run_id: str, limit: int, cursor: str
) -> RunPage:
    """Newest first; of a previewed run, tool calls and tokens are not known."""
    has_previews = (await api.version()).has(Trait.SHOWS_PREVIEWS)
    page = paging.run_page(
        session_id, await _all(api, session_id, owner, type), run_id=run_id, limit=limit, cursor=cursor
    )
    if not has_previews:
        return page

    async def whole(run: Run) -> Run:
        if not run_id and max(len(run.input), len(run.output)) < _CUT_AT:
            return run
        try:
            answer = (await api.run(session_id, owner, type, run.id)).json()
        except NotFound:
            return run  # removed meanwhile
        (found,) = runs_in([answer])
        return read_run(found).model_copy(update={"cursor": run.cursor})

    return page.model_copy(update={"runs": tuple(await each(whole, page.runs))})


async def count_runs(api: Api, stored: Stored, owner: str) -> int:
    """Without those inside others."""
    runs = await _all(api, stored.id, owner, stored.type)
    return sum(not run.parent_run_id for run in runs)


async def _all(api: Api, session_id: str, owner: str, type: str) -> Sequence[Run]:
    asked = api.previews if (await api.version()).has(Trait.SHOWS_PREVIEWS) else api.runs
    return [read_run(run) for run in runs_in((await asked(session_id, owner, type)).json())]
