"""What the page refuses: text as markup, other addresses, and a link that was used before."""

from pathlib import Path

import anyio

from mcp_sessions.models import NewMessage, ToolCall
from mcp_sessions.text.sanitize import sanitize
from tests.support.store_files import opened
from tests.support.webdriver import Browser
from tests.text.test_stored_text import PAYLOADS

from .conftest import Open
from .sample_sessions import fill

MARKUP = ("<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "javascript:alert(1)", "<svg/onload=alert(1)>")
ROWS = "[...document.querySelectorAll('.row .name')].map((row) => row.textContent)"


async def store_hostile(path: Path, texts: list[str]) -> None:
    async with opened(path) as store:
        session = await store.create_session(name=texts[0])
        calls = [ToolCall(id="c", name=text, arguments=text) for text in texts[:40]]
        messages = [NewMessage(role="user", text=text) for text in texts]
        messages += [
            NewMessage(role="assistant", text=text, tool_calls=(call,))
            for text, call in zip(texts, calls, strict=False)
        ]
        messages += [NewMessage(role="tool", text=text, tool_name=text[:500]) for text in texts[:40]]
        for start in range(0, len(messages), 100):
            await store.append_messages(session.id, messages[start : start + 100])
        await store.update_session(session.id, summary=texts[0])
        for text in MARKUP:
            await store.create_session(name=text, agent_id=text)


def test_hostile_names_and_messages_stay_text_and_no_request_leaves_the_page(
    browser: Browser, browse: Open, path: Path
) -> None:
    texts = [*MARKUP, *(f"{markup} {payload}" for markup in MARKUP[:1] for payload in PAYLOADS)]
    anyio.run(store_hostile, path, texts)
    url = browse(path)
    browser.open(url)
    before = browser.wait("document.querySelectorAll('.row').length > 4 && document.querySelectorAll('*').length")
    assert set(browser.script(f"return {ROWS}")) == {*MARKUP}
    browser.script("[...document.querySelectorAll('.row')].at(-1).click()")
    written: set[str] = set()
    while True:
        browser.wait("![null, window.oldest].includes(document.querySelector('#messages').firstChild)")
        written.update(
            browser.script("return [...document.querySelectorAll('.user .text')].map((it) => it.textContent)")
        )
        if browser.script("return document.querySelector('#older').hidden"):
            break
        browser.script("window.oldest = document.querySelector('#messages').firstChild; older.click()")
    assert written == {sanitize(text, redact_credentials=True) for text in texts}
    made = "img, svg, iframe, object, embed, audio, video, a, link:not([rel=icon]), form, base, script + script"
    assert browser.script(f"return document.querySelectorAll({made!r}).length") == 0
    assert browser.script("return document.querySelectorAll('body *').length") > before
    root = url.partition("#")[0]
    assert {
        asked.removeprefix(root) for asked in browser.requested() if not asked.startswith(("data:", "chrome:"))
    } == {*("", "token", "mcp")}


def test_the_pages_policy_refuses_other_addresses_and_text_as_markup(page: Browser) -> None:
    attempts = """
        const tries = [() => fetch("http://127.0.0.1:1/"), () => { document.body.innerHTML = "<b>x</b>"; },
          () => { const one = new Image(); one.src = "http://127.0.0.1:1/x.png"; return one.decode(); }];
        Promise.all(tries.map(async (one) => { try { await one(); return "done"; } catch { return "refused"; } }))
          .then((outcomes) => { window.outcomes = outcomes; });"""
    page.script(attempts)
    assert page.wait("window.outcomes") == ["refused"] * 3
    assert len(page.console()) >= 3


def test_the_link_opens_the_page_once_and_a_reload_keeps_it_open(browser: Browser, browse: Open, path: Path) -> None:
    anyio.run(fill, path)
    url = browse(path)
    browser.open(url)
    browser.wait("document.querySelector('.row')")
    assert browser.script("return location.href") == url.partition("#")[0]
    browser.script("location.reload()")
    browser.wait("document.querySelector('.row')")
    browser.script("sessionStorage.clear()")
    browser.open("about:blank")
    browser.open(url)
    browser.wait(
        "document.querySelector('#none').textContent.startsWith('This page is open in another tab, or its link')"
    )
    assert [line for line in browser.console() if "401" not in line] == []
