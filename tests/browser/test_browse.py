"""What a person does with `mcp-sessions browse`, in a real browser."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.benchmarks.store_seeds import build
from tests.support.webdriver import VARIABLE, Browser

from .conftest import Open
from .sample_sessions import LISBON, NAMES

SESSIONS = int(os.environ.get("SESSIONS", "5000"))  # of a long list
SCREENSHOT = Path(__file__).parents[2] / "docs" / "browse.png"
ROWS = "[...document.querySelectorAll('.row .name')].map((row) => row.textContent)"
FOCUS = "document.activeElement.id"


def names(page: Browser) -> list[str]:
    return page.script(f"return {ROWS}")


def click_row(page: Browser, name: str) -> None:
    page.wait(f"{ROWS}.includes(arguments[0])", name)
    page.script(
        "[...document.querySelectorAll('.row')].find((row) => row.textContent.startsWith(arguments[0])).click()", name
    )


def choose(page: Browser, name: str) -> None:
    """Click a row, once the list shows it, and wait for the session."""
    click_row(page, name)
    page.wait("document.querySelector('#title').textContent === arguments[0]", name)
    page.wait("document.querySelector('#facts').textContent.includes('message')")


def show(page: Browser, view: str) -> None:
    page.script(
        "[...document.querySelectorAll('#views button')].find((it) => it.textContent === arguments[0]).click()", view
    )


def said(page: Browser, text: str) -> None:
    page.wait(
        "!document.querySelector('#undo').hidden && document.querySelector('#undo span').textContent === arguments[0]",
        text,
    )


def tab_to(page: Browser, id: str) -> None:
    passed: list[str] = []
    while page.script(f"return {FOCUS}") != id:
        page.press("Tab")
        passed.append(page.script(f"return {FOCUS}"))
        assert len(passed) < 10, passed


@pytest.mark.slow
def test_a_conversation_is_found_renamed_archived_restored_and_deleted_and_each_change_undone(page: Browser) -> None:
    page.click("#query")
    page.type("s")
    page.wait("document.querySelector('#none').textContent === 'Nothing found for “s”.'")
    page.type("int")
    page.wait("document.querySelector('.row mark')?.textContent === 'Sint'")
    page.resize(1200, 300)  # so that the name is not in sight beside the hit
    choose(page, LISBON)
    assert page.wait("document.querySelector('.target .text')?.textContent").startswith("Which day for Sintra?")
    assert page.script("return document.querySelectorAll('#messages details[open]').length") == 0

    page.click("#do-rename")
    page.resize(1200, 760)
    page.press("Control+a")
    page.type("Lisbon in May")
    page.press("Enter")
    said(page, "Renamed to “Lisbon in May”.")
    assert names(page) == ["Lisbon in May"]
    page.click("#undo-it")
    page.wait("document.querySelector('#title').textContent === arguments[0]", LISBON)

    show(page, "Recent")
    choose(page, LISBON)
    page.click("#do-archive")
    said(page, f"Archived “{LISBON}”.")
    page.wait(f"!{ROWS}.includes(arguments[0])", LISBON)
    page.click("#undo-it")
    choose(page, LISBON)
    page.click("#do-archive")
    said(page, f"Archived “{LISBON}”.")
    show(page, "Archived")
    choose(page, LISBON)
    page.click("#do-restore")
    said(page, f"Restored “{LISBON}”.")
    page.wait("document.querySelector('#none').textContent.startsWith('Nothing is archived')")

    show(page, "Recent")
    choose(page, LISBON)
    page.click("#do-delete")
    assert page.wait("document.querySelector('dialog').open && document.querySelector('#question').textContent") == (
        f"Delete “{LISBON}”?"
    )
    assert "Messages and state are deleted too." in page.script(
        "return document.querySelector('#consequence').textContent"
    )
    page.click("#no")
    assert LISBON in names(page)
    page.click("#do-delete")
    page.wait("document.querySelector('dialog').open")
    page.click("#yes")
    said(page, f"Deleted “{LISBON}”.")
    assert LISBON not in names(page)
    page.click("#undo-it")
    page.wait(f"{ROWS}.includes(arguments[0])", LISBON)

    choose(page, LISBON)
    page.click("#do-delete")
    assert not re.search(
        r"\d{4}-",
        page.wait("document.querySelector('dialog').open && document.querySelector('#consequence').textContent"),
    )
    page.click("#yes")
    said(page, f"Deleted “{LISBON}”.")
    page.click("#dismiss")
    page.script("location.reload()")
    page.wait("document.querySelector('#query') && document.querySelector('.row')")
    show(page, "Deleted")
    page.wait(f"{ROWS}.join() === arguments[0]", LISBON)
    page.script("document.querySelector('.row').click()")
    page.wait("document.querySelector('#remark').textContent.startsWith('Deleted. You can restore it until ')")
    page.click("#do-restore")
    page.wait(f"{ROWS}.includes(arguments[0])", LISBON)
    page.wait("document.querySelector('#views button:last-child').hidden")
    choose(page, LISBON)

    show(page, "Expiring")
    page.wait("document.querySelector('#none').textContent.startsWith('No session expires soon.')")


def test_on_a_narrow_screen_the_offer_to_undo_covers_nothing_and_leaves_with_the_view(page: Browser) -> None:
    page.resize(360, 640)
    choose(page, LISBON)
    tops = "[...document.querySelectorAll('#bar button')].filter((it) => !it.hidden).map((it) => it.offsetTop)"
    assert page.script(f"return Math.max(...{tops}) - Math.min(...{tops})") < 10
    page.click("#do-archive")
    said(page, f"Archived “{LISBON}”.")
    page.script("document.querySelector('#list').scrollTop = 9999")
    bottom, top = page.script(
        "return ['#state', '#undo'].map((it) => document.querySelector(it).getBoundingClientRect()).map("
        "(it, index) => index ? it.top : it.bottom)"
    )
    assert bottom <= top
    last = "[...document.querySelectorAll('.row')].at(-1)"
    assert (
        page.wait(f"{last}.textContent.startsWith(arguments[0]) && {last}.getBoundingClientRect().bottom", NAMES[-1][0])
        <= top
    )
    assert page.script("return document.body.scrollWidth") == 360
    show(page, "Archived")
    assert page.wait("document.querySelector('#undo').hidden")


def test_everything_can_be_done_with_the_keyboard(page: Browser) -> None:
    page.press("/")
    assert page.script(f"return {FOCUS}") == "query"
    page.press("ArrowDown", "ArrowDown", "Enter")
    page.wait("document.querySelector('#title').textContent === arguments[0]", LISBON)
    assert page.script(f"return {FOCUS}") == "session"
    page.press("Escape")
    assert page.script(f"return {FOCUS}") == "list"
    page.press("End")
    last = page.script(
        "return document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent"
    )
    assert last.startswith(NAMES[-1][0])
    page.press("Home", "Enter")
    page.wait("document.querySelector('#title').textContent === arguments[0]", NAMES[0][0])
    tab_to(page, "do-rename")
    page.press("Enter", "Control+a")
    page.type("Bread")
    page.press("Enter")
    said(page, "Renamed to “Bread”.")
    tab_to(page, "do-archive")
    page.press("Enter")
    said(page, "Archived “Bread”.")
    tab_to(page, "undo-it")
    page.press("Enter")
    page.wait(f"{ROWS}.includes('Bread')")
    page.wait("document.querySelector('#facts').textContent.includes('message')")
    tab_to(page, "do-delete")
    page.press("Enter")
    page.wait("document.querySelector('dialog').open")
    tab_to(page, "yes")
    page.press("Enter")
    said(page, "Deleted “Bread”.")
    page.press("Shift+Tab")
    assert page.script("return document.activeElement.textContent") == "Deleted"
    page.press("Enter", "Tab", "Enter")
    page.wait("document.querySelector('#remark').textContent.startsWith('Deleted.')")
    tab_to(page, "do-restore")
    page.press("Enter")
    page.wait(f"{ROWS}.includes('Bread') && document.querySelector('[aria-current]').textContent === 'Recent'")


@pytest.mark.slow
def test_a_screen_reader_finds_no_violation_in_any_view(page: Browser) -> None:
    axe = (Path(os.environ[VARIABLE]) / "axe.min.js").read_text(encoding="utf-8")
    page.script(axe + "; window.axe = axe;")
    found: dict[str, list[str]] = {}

    def examine(view: str) -> None:
        page.script("window.seen = null; axe.run().then((result) => { window.seen = result.violations; });")
        violations = json.loads(page.wait("window.seen && JSON.stringify(window.seen)"))
        found.update({view: [f"{one['id']}: {one['nodes'][0]['html']}" for one in violations]} if violations else {})

    examine("list")
    choose(page, LISBON)
    page.script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        examine(scheme)
    page.click("#do-rename")
    examine("rename")
    page.press("Escape")
    page.click("#do-delete")
    page.wait("document.querySelector('dialog').open")
    examine("dialog")
    page.click("#no")
    page.click("#do-archive")
    said(page, f"Archived “{LISBON}”.")
    examine("undo")
    page.resize(390, 760)
    examine("narrow")
    page.click("#query")
    page.type("sint")
    page.wait("document.querySelector('.row mark')")
    examine("search")
    choose(page, LISBON)
    page.click("#do-delete")
    page.wait("document.querySelector('dialog').open")
    page.click("#yes")
    said(page, f"Deleted “{LISBON}”.")
    show(page, "Deleted")
    page.wait("document.querySelector('.row')")
    page.script("document.querySelector('.row').click()")
    examine("deleted")
    assert found == {}


@pytest.mark.load
def test_a_list_of_thousands_of_sessions_can_be_scrolled_to_the_last(
    browser: Browser, browse: Open, path: Path
) -> None:
    build(path, SESSIONS, 0)
    browser.open(browse(path))
    browser.wait("document.querySelector('.row')")
    browser.script(
        """window.most = 0; const list = document.querySelector("#list");
        const scroll = () => { list.scrollTop = list.scrollHeight;
          window.most = Math.max(window.most, document.querySelectorAll(".row").length);
          requestAnimationFrame(scroll); };
        scroll();"""
    )
    loaded = 0
    while loaded < SESSIONS:  # each wait has a deadline of its own
        reached = "Number(document.querySelector('#count').textContent.split(' ')[0].replaceAll(/\\D/g, ''))"
        loaded = browser.wait(f"{reached} >= arguments[0] && {reached}", min(loaded + 5_000, SESSIONS))
    assert browser.wait(
        "[...document.querySelectorAll('.row')].some((row) => row.textContent.startsWith('Trip to Rome 1'))"
    )
    assert browser.script("return window.most") < 40


def test_the_picture_in_the_documentation_is_made_from_the_page(page: Browser) -> None:
    page.resize(960, 560)
    page.script("document.documentElement.style.setProperty('--font-sans', 'Liberation Sans')")
    choose(page, LISBON)
    page.script("document.activeElement.blur()")
    picture = page.screenshot()
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        SCREENSHOT.write_bytes(picture)
    assert picture[:24] == SCREENSHOT.read_bytes()[:24]  # PNG's signature, and the width and height
