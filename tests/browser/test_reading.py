"""How the page finds things: in a long session, and among the sessions of several backends."""

from pathlib import Path

import anyio

from mcp_sessions.models import NewMessage
from tests.support.store_files import opened
from tests.support.webdriver import Browser

from .conftest import Open

ROWS = "[...document.querySelectorAll('.row .line > :first-child')].map((row) => row.textContent).join()"


async def store_session(path: Path, name: str, *texts: str) -> None:
    async with opened(path) as store:
        session = await store.create_session(name=name)
        for start in range(0, len(texts), 100):
            messages = [NewMessage(role="user", text=text) for text in texts[start : start + 100]]
            await store.append_messages(session.id, messages)


def test_a_word_is_found_in_older_messages_which_are_loaded_for_it(browser: Browser, browse: Open, path: Path) -> None:
    anyio.run(store_session, path, "Long", "a needle, and a Needle", *(f"straw {number}" for number in range(180)))
    browser.open(browse(path))
    browser.wait("document.querySelector('.row')")
    browser.script("document.querySelector('.row').click()")
    assert browser.wait("document.querySelectorAll('#messages > li').length") == 50
    browser.click("#find")
    browser.type("needle")
    browser.wait("document.querySelector('#found').textContent === '1 of 2'")
    assert browser.script("return document.querySelectorAll('#messages > li').length") == 181
    browser.press("Enter")
    browser.wait("document.querySelector('#found').textContent === '2 of 2'")
    browser.press("Control+a")
    browser.type("unicorn")
    browser.wait("document.querySelector('#found').textContent === 'Not found'")
    assert browser.script("return document.querySelectorAll('mark').length") == 0


def test_a_list_of_several_backends_can_be_restricted_to_one(browser: Browser, browse: Open, tmp_path: Path) -> None:
    anyio.run(store_session, tmp_path / "home.db", "Garden", "Roses")
    anyio.run(store_session, tmp_path / "work.db", "Budget", "Numbers")
    browser.open(browse(tmp_path / "home.db", "--backend", f"work=sqlite:///{tmp_path / 'work.db'}"))
    browser.wait(f"{ROWS} === 'Budget,Garden'")
    assert browser.script("return document.querySelector('#backend').innerText.split('\\n').sort()") == [
        *("All backends", "Default", "work")
    ]
    choose = "const one = document.querySelector('#backend'); one.selectedIndex = arguments[0]; "
    choose += "one.dispatchEvent(new Event('change'));"
    options = browser.script("return [...document.querySelector('#backend').options].map((one) => one.text)")
    browser.script(choose, options.index("work"))
    browser.wait(f"{ROWS} === 'Budget'")
    browser.script(choose, options.index("Default"))
    browser.wait(f"{ROWS} === 'Garden'")
    browser.script(choose, 0)
    browser.wait(f"{ROWS} === 'Budget,Garden'")
