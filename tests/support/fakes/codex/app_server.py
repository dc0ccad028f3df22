"""The fake's program. Only the standard library is imported, so that it starts fast.

Its arguments are the version to tell, and a fault, `KIND:METHOD`, when a request of this method comes:
`hang` never answers it; `late` carries it out and never answers; `exit` ends without an answer; `crash` carries it out
and ends; `lie` answers without doing anything; `error` refuses it; `deaf` hangs, ignores the end of its stdin, and
leaves a child that does too; `foreign` answers as another program would; `unknown` does not know the method; `alone`
carries it out without the threads of subagents; `partly` carries it out only for those, and ends. One that waits then
makes the file `reached` in the home.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from threads import Home, Refusal  # not relative, since this is a program

_UNKNOWN = "Invalid request: unknown variant `{}`, expected one of `initialize`, `thread/start`, `thread/resume`"


def main(version: str, fault: str, command: str) -> None:
    if command == "--version":
        print(f"codex-cli {version}")
        return
    home = Home(Path(os.environ["CODEX_HOME"]), version)
    note_process(home.root, os.getpid())
    kind, _, faulty = fault.partition(":")
    send({"method": "configWarning", "params": {}})
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        method = request["method"]
        if "id" not in request:
            continue
        if method == faulty:
            be_faulty(kind, home, request)
        send({"id": request["id"], **answer(home, request, version, does_nothing=method == faulty and kind == "lie")})
        send({"id": request["id"], "method": "item/tool/requestUserInput", "params": {}})


def answer(home: Home, request: dict[str, Any], version: str, *, does_nothing: bool = False) -> dict[str, Any]:
    if request["method"] == "initialize":
        agent = f"mcp-sessions/{version} (Debian 12.0.0; x86_64) xterm (mcp-sessions; 1)"
        return {"result": {"userAgent": agent, "codexHome": str(home.root), "platformOs": "linux"}}
    call = home.methods.get(request["method"])
    if call is None:
        return {"error": {"code": -32600, "message": _UNKNOWN.format(request["method"])}}
    try:
        return {"result": {} if does_nothing else call(request["params"])}
    except Refusal as error:
        return {"error": {"code": -32600, "message": str(error)}}


def be_faulty(kind: str, home: Home, request: dict[str, Any]) -> None:
    if kind in ("late", "crash"):
        answer(home, request, "")
    if kind == "partly":
        _, *subagents = home.family(request["params"]["threadId"])
        for thread_id in subagents:
            answer(home, request | {"params": {"threadId": thread_id}}, "")
    if kind in ("exit", "crash", "partly"):
        sys.exit()
    if kind == "error":
        send({"id": request["id"], "error": {"code": -32603, "message": f"broken at {home.root}/sessions/secret"}})
    if kind == "unknown":
        send({"id": request["id"], "error": {"code": -32600, "message": _UNKNOWN.format(request["method"])}})
    if kind == "foreign":
        send({"id": request["id"], "result": {"userAgent": "something else"}})
    if kind == "deaf":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note_process(home.root, child.pid)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (home.root / "reached").touch()
        time.sleep(600)
    home.is_alone = kind == "alone"
    if kind in ("hang", "late", "error", "unknown", "foreign"):
        (home.root / "reached").touch()
        sys.stdin.read()
        sys.exit()


def note_process(root: Path, pid: int) -> None:
    """Write a process's id where a test finds it."""
    with (root / "processes").open("a") as file:
        file.write(f"{pid}\n")


def send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
