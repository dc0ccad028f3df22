"""How the page finds things: in a long session, and among the sessions of several backends."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from mcp_sessions.models import NewMessage
from tests.support.claude_transcripts import Transcript
from tests.support.store_files import opened
from tests.support.webdriver import Browser

from .conftest import Open

ROWS = "[...document.querySelectorAll('.row .name')].map((row) => row.textContent).join()"


async def store_session(path: Path, name: str, *texts: str) -> None:
    async with opened(path) as store:
        session = await store.create_session(name=name)
        for start in range(0, len(texts), 100):
            messages = [NewMessage(role="user", text=text) for text in texts[start : start + 100]]
            await store.append_messages(session.id, messages)


@contextmanager
def disconnected(browser: Browser) -> Generator[None]:
    """Refuse the page's requests, and expect only their failures on its console."""
    unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.command("Network.emulateNetworkConditions", offline=True, **unlimited)
    try:
        yield
    finally:
        browser.command("Network.emulateNetworkConditions", offline=False, **unlimited)
    assert [line for line in browser.console() if "ERR_INTERNET_DISCONNECTED" not in line] == []


async def archive_session(path: Path, name: str) -> None:
    async with opened(path) as store:
        await store.archive_session((await store.create_session(name=name)).id)


def test_a_word_is_found_in_older_messages_which_are_loaded_for_it(browser: Browser, browse: Open, path: Path) -> None:
    anyio.run(store_session, path, "Long", "a needle, and a Needle", *(f"straw {number}" for number in range(180)))
    browser.open(browse(path))
    browser.wait("document.querySelector('.row')")
    browser.script("document.querySelector('.row').click()")
    assert browser.wait("document.querySelectorAll('#messages > li').length") == 50
    browser.click("#find")
    with disconnected(browser):
        browser.type("needle")
        browser.wait("document.querySelector('#undo').textContent.includes('Run `mcp-sessions browse` again.')")
        found = "return document.querySelector('#found').textContent"
        assert browser.script(found) == "Not in these 50 messages. Enter looks further."
    browser.press("Enter")
    browser.wait("document.querySelector('#found').textContent === '1 of 1'")
    browser.press("Control+a")
    browser.type("unicorn")
    browser.wait("document.querySelector('#found').textContent === 'Not found'")
    assert browser.script("return document.querySelectorAll('mark').length") == 0


def test_a_search_shows_each_session_once_and_finds_its_messages_in_the_session(
    browser: Browser, browse: Open, path: Path
) -> None:
    anyio.run(
        store_session, path, "Trip", "Trains to Rome", "Rome: the museum", *(f"note {n}" for n in range(60)), "Rome"
    )
    anyio.run(archive_session, path, "Rome in winter")
    browser.open(browse(path))
    browser.wait("document.querySelector('.row')")
    browser.click("#query")
    browser.type("rome")
    browser.wait(f"{ROWS} === 'Rome in winter,Trip'")
    facts = "[...document.querySelectorAll('.row .facts')].map((it) => it.textContent).join('|')"
    browser.wait(f"{facts} === 'archived · Today|The name matches||Today|Rome|3 messages'")
    browser.script("[...document.querySelectorAll('.row')].at(-1).click()")
    browser.wait("document.querySelector('#found').textContent === '1 of 1+'")
    current = "document.querySelector('.target mark').closest('.text').textContent"
    assert browser.script(f"return {current}") == "Rome"
    browser.click("#find")
    for keys, found, text in (
        ("Enter", "2 of 3", "Rome: the museum"),
        ("Enter", "3 of 3", "Trains to Rome"),
        ("Shift+Enter", "2 of 3", "Rome: the museum"),
    ):
        browser.press(keys)
        browser.wait("document.querySelector('#found').textContent === arguments[0]", found)
        assert browser.script(f"return {current}") == text
        assert browser.script("return document.querySelectorAll('.target').length") == 1
    browser.press("Control+a")
    browser.type("museum rome")
    browser.wait("document.querySelector('#found').textContent === '1 of 1'")
    assert browser.script("return document.querySelectorAll('#messages mark').length") == 2


def mcp_calls(browser: Browser) -> int:
    return sum(asked.endswith("/mcp") for asked in browser.requested())


@pytest.mark.slow
def test_a_session_of_many_messages_is_opened_scrolled_and_searched_in_parts(
    browser: Browser, browse: Open, path: Path
) -> None:
    count = 5_000
    anyio.run(store_session, path, "Long", "the first needle", *(f"straw {number}" for number in range(count - 1)))
    browser.open(browse(path))
    browser.wait("document.querySelector('.row')")
    browser.requested()
    browser.script(
        """window.most = 0; new MutationObserver(() => {
          window.most = Math.max(window.most, document.querySelectorAll("#messages > li").length);
        }).observe(document.querySelector("#messages"), { childList: true });
        document.querySelector(".row").click();"""
    )
    browser.wait("document.querySelector('#facts').textContent.includes('messages') && document.querySelector('.text')")
    assert mcp_calls(browser) == 2
    oldest = "document.querySelector('.text').textContent"
    for number in range(1, 6):
        browser.script(
            "older.scrollIntoView(); window.kept = document.querySelector('#messages li');"
            " window.before = kept.getBoundingClientRect().top; older.click()"
        )
        browser.wait(f"{oldest} === arguments[0]", f"straw {count - 1 - 50 * (number + 1)}")
        assert abs(browser.script("return kept.getBoundingClientRect().top - before")) < 2
    browser.script("newer.click()")
    browser.wait(f"{oldest} === arguments[0]", f"straw {count - 1 - 250}")
    assert browser.script("return window.most") == 200
    browser.requested()
    browser.click("#find")
    browser.type("needle")
    browser.wait("document.querySelector('#found').textContent.startsWith('Not in these 4,300 messages')")
    assert mcp_calls(browser) == 20
    browser.press("Enter")
    browser.wait("document.querySelector('#found').textContent === '1 of 1'")
    assert browser.wait("document.querySelector('.target .text').textContent") == "the first needle"
    assert mcp_calls(browser) == 4
    assert browser.script("return window.most") == 200


def choose(browser: Browser, select: str, option: str) -> None:
    browser.script(
        """const select = document.getElementById(arguments[0]);
        select.selectedIndex = [...select.options].findIndex((one) => one.text === arguments[1]);
        select.dispatchEvent(new Event("change", { bubbles: true }));""",
        *(select, option),
    )


def test_sessions_of_several_backends_are_one_list_that_can_be_restricted_and_says_what_is_missing(
    browser: Browser, browse: Open, tmp_path: Path
) -> None:
    anyio.run(store_session, tmp_path / "home.db", "Garden", "Roses")
    for name, folder, age in (("Budget", "shop", 1), ("Router", "gateway", 28)):
        moment = datetime.now(UTC) - timedelta(days=age)
        transcript = Transcript(cwd=f"/home/ada/{folder}")
        transcript.prompt(f"About the {folder}", moment)
        transcript.title(name)
        transcript.write(tmp_path / "claude", moment)
    stopped, overlay = "http://127.0.0.1:9", f"sqlite:///{tmp_path / 'overlay.db'}"
    others = [f"claude=claude-code://{tmp_path / 'claude'}", f"down=agentos+{stopped}"]
    browser.open(browse(tmp_path / "home.db", *(f"--backend={one}" for one in others), "--overlay", overlay))
    browser.wait(f"{ROWS} === 'Garden,Budget,Router'")
    note = browser.wait("document.querySelector('#note').textContent")
    assert note.startswith("The sessions of down (AgentOS) are missing:")
    assert "again" not in note
    assert browser.script("return document.querySelector('#further').innerText") == "Load again"
    browser.resize(360, 640)
    assert browser.script("return document.querySelector('#side').offsetWidth") == 360
    browser.resize(1200, 760)
    choose(browser, "backend", "claude")
    browser.wait(f"{ROWS} === 'Budget,Router'")
    choose(browser, "project", "gateway")
    browser.wait(f"{ROWS} === 'Router'")
    choose(browser, "backend", "Default")
    browser.wait("document.querySelector('#none').textContent === 'No session of this kind here.'")
    choose(browser, "project", "All projects")
    browser.wait(f"{ROWS} === 'Garden'")
    choose(browser, "backend", "All backends")

    browser.script("document.querySelector('#views button:nth-child(3)').click()")
    browser.wait(f"{ROWS} === 'Router'")
    assert browser.script("return document.querySelector('.day').textContent").startswith("Expires on ")
    browser.script("document.querySelector('.row').click()")
    browser.wait("document.querySelector('#remark').textContent.endsWith('If you archive it, a copy is kept.')")
    browser.wait("document.querySelector('#facts').textContent.includes('1 message')")
    browser.click("#do-archive")
    browser.wait("document.querySelector('#undo').innerText.startsWith('Archived “Router”. Stored by mcp-sessions')")
    browser.script("document.querySelector('#views button:nth-child(2)').click()")
    browser.wait(f"{ROWS} === 'Router'")
    browser.script("document.querySelector('.row').click()")
    browser.wait("document.querySelector('#facts').textContent.includes('archived only here')")
    assert browser.script("return document.querySelector('#remark').textContent").endswith("A copy of it is kept.")
    browser.script("history.back()")
    browser.wait("document.querySelector('#session').hidden && !document.querySelector('.row[aria-selected=true]')")


def test_a_page_without_its_server_says_how_to_start_it_and_can_load_again(
    browser: Browser, browse: Open, path: Path
) -> None:
    browser.open(browse(path))
    browser.wait("document.querySelector('#none').textContent === 'No sessions yet.'")
    with disconnected(browser):
        browser.script("document.querySelector('#views button:nth-child(2)').click()")
        browser.wait("document.querySelector('#none').textContent.includes('Run `mcp-sessions browse` again.')")
    browser.click("#further")
    browser.wait("document.querySelector('#none').textContent.startsWith('Nothing is archived')")
