"""Changes that meet another one: a second click, and a session that was deleted elsewhere."""

from pathlib import Path

import anyio
import pytest

from mcp_sessions.models import SessionFilter
from tests.support.store_files import opened
from tests.support.webdriver import Browser

from .sample_sessions import LISBON
from .test_browse import choose, click_row, names, said


@pytest.mark.slow
def test_an_action_clicked_twice_is_done_once_and_can_be_undone(page: Browser) -> None:
    def click_twice(id: str) -> None:
        page.script("const button = document.getElementById(arguments[0]); button.click(); button.click()", id)

    choose(page, LISBON)
    click_twice("do-archive")
    said(page, f"Archived “{LISBON}”.")
    click_twice("undo-it")
    page.wait("document.querySelector('#undo').hidden")
    choose(page, LISBON)
    click_twice("do-delete")
    page.wait("document.querySelector('#dialog').open")
    page.click("#yes")
    said(page, f"Deleted “{LISBON}”.")
    page.click("#undo-it")
    choose(page, LISBON)


@pytest.mark.slow
@pytest.mark.parametrize("is_open", [False, True])
def test_a_session_that_was_deleted_elsewhere_can_be_restored(page: Browser, path: Path, is_open: bool) -> None:
    async def delete_elsewhere() -> None:
        async with opened(path) as store:
            sessions = (await store.list_sessions(SessionFilter())).sessions
            await store.delete_session(next(session.id for session in sessions if session.name == LISBON))

    if is_open:
        choose(page, LISBON)
    anyio.run(delete_elsewhere)
    if is_open:
        page.click("#do-archive")
    else:
        click_row(page, LISBON)
    said(page, f"Already deleted: “{LISBON}”.")
    assert LISBON not in names(page)
    assert page.script("return document.querySelector('#session').hidden")
    page.click("#undo-it")
    choose(page, LISBON)
