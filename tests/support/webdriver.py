"""A headless Chromium, driven by chromedriver through the W3C WebDriver protocol."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

VARIABLE = "MCP_SESSIONS_BROWSER"
DEADLINE = 60
KEYS = {
    "Backspace": "\ue003",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "End": "\ue010",
    "Home": "\ue011",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb")


class Browser:
    """One browser window. A script is the body of a function; it returns JSON, and may be asynchronous."""

    def __init__(self, http: httpx2.Client, session: str) -> None:
        self._http = http
        self._session = session

    def _send(self, path: str, **body: Any) -> Any:
        return _value(self._http.post(f"/session/{self._session}{path}", json=body))

    def open(self, url: str) -> None:
        self._send("/url", url=url)

    def script(self, body: str, *arguments: Any) -> Any:
        return self._send("/execute/sync", script=body, args=arguments)

    def wait(self, condition: str, *arguments: Any) -> Any:
        """Wait until an expression is true, and return its value."""
        text = f"""const [done, given] = [arguments[arguments.length - 1], arguments];
            const look = () => {{ const value = (function () {{ return {condition}; }}).apply(null, given);
              if (value) done(value); else requestAnimationFrame(look); }};
            look();"""
        try:
            return self._send("/execute/async", script=text, args=arguments)
        except AssertionError as error:
            shown = self.script("return document.body.innerText")
            raise AssertionError(f"never true: {condition} {arguments}; the page shows: {shown[:2000]}") from error

    def press(self, *keys: str) -> None:
        """Press and release keys, each a character or one of `KEYS`, or several joined by `+`."""
        actions: list[dict[str, str]] = []
        for chord in keys:
            codes = [KEYS.get(key, key) for key in (chord.split("+") if len(chord) > 1 else [chord])]
            actions += [{"type": "keyDown", "value": code} for code in codes]
            actions += [{"type": "keyUp", "value": code} for code in reversed(codes)]
        self._send("/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def type(self, text: str) -> None:
        self.press(*text)

    def click(self, css: str) -> None:
        element = self._send("/element", using="css selector", value=css)[_ELEMENT]
        self._send(f"/element/{element}/click")

    def enter_frame(self, index: int) -> None:
        self._send("/frame", id=index)

    def leave_frames(self) -> None:
        self._send("/frame", id=None)

    def resize(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a command of the Chrome DevTools Protocol."""
        return self._send("/goog/cdp/execute", cmd=name, params=parameters)

    def prefer(self, scheme: str) -> None:
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self) -> bytes:
        return base64.b64decode(_value(self._http.get(f"/session/{self._session}/screenshot")))

    def console(self) -> list[str]:
        """Return what was logged on the console since the last call, errors of loading and of policies included."""
        return [entry["message"] for entry in self._send("/se/log", type="browser")]

    def requested(self) -> list[str]:
        """Return the URLs of the requests that were made or refused since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._send("/se/log", type="performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def _value(response: httpx2.Response) -> Any:
    value = response.json()["value"]
    assert response.status_code == 200, f"{value['error']}: {value['message']}"
    return value


def is_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


@contextmanager
def chromium() -> Generator[Browser]:
    """Yield a browser with a profile of its own, from the folder that the variable names."""
    folder = Path(os.environ[VARIABLE])
    with (
        TemporaryDirectory(prefix="mcp-sessions-browser-") as profile,
        subprocess.Popen([folder / "chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver,
    ):
        try:
            assert driver.stdout is not None
            ports = (re.search(r"on port (\d+)", line) for line in driver.stdout)
            port = next(found[1] for found in ports if found and found[1] != "0")
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE * 2, trust_env=False) as http:
                session = _value(http.post("/session", json=_capabilities(folder, profile)))["sessionId"]
                try:
                    yield Browser(http, session)
                finally:
                    http.delete(f"/session/{session}")  # else Chromium outlives its driver
        finally:
            driver.terminate()


def _capabilities(folder: Path, profile: str) -> dict[str, Any]:
    wanted = {
        "goog:chromeOptions": {
            "binary": str(folder / "chromium"),
            "args": [*_OPTIONS, f"--user-data-dir={profile}", "--lang=en-GB"],
        },
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        "timeouts": {"script": DEADLINE * 1000, "implicit": 0},
    }
    return {"capabilities": {"alwaysMatch": wanted}}
