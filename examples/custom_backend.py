"""A backend of your own: sessions are JSON files in a folder, and can be read and renamed.

Run it with `python examples/custom_backend.py FOLDER`. A file ID.json has {"name": "…", "user_id": "…", "messages":
[{"role": "user", "text": "…"}]}, and may have any other field of `SessionDetail` and `Message`.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client

from mcp_sessions import Capability, create_server
from mcp_sessions.backends.base import REQUIRED
from mcp_sessions.backends.read_all import ReadAllBackend
from mcp_sessions.models import Change, Message, SessionDetail


class JsonFolder(ReadAllBackend):
    title = "a folder of JSON files"
    capabilities = REQUIRED | {Capability.RENAME_SESSION}

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def why_no_user_scoping(self) -> str:
        return ""  # each method reads and changes only the sessions of self.caller.user_id

    def _read(self, session_id: str) -> dict[str, Any]:
        return json.loads((self._folder / f"{session_id}.json").read_text(encoding="utf-8"))

    async def read_sessions(self) -> Sequence[SessionDetail]:
        times = {path.stem: path.stat().st_mtime for path in self._folder.glob("*.json")}
        return [
            SessionDetail.model_validate({**self._read(id), "id": id, "updated_at": datetime.fromtimestamp(time, UTC)})
            for id, time in times.items()
        ]

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        said = enumerate(self._read(session_id)["messages"], 1)
        return [Message.model_validate({**message, "id": f"m{number}"}) for number, message in said]

    async def rename_session(self, session_id: str, name: str) -> Change:
        before = await self.get_session(session_id)  # raises NotFound if it isn't the caller's
        new = self._folder / f"{session_id}.json.new"
        new.write_text(json.dumps(self._read(session_id) | {"name": name}), encoding="utf-8")
        new.replace(self._folder / f"{session_id}.json")
        return Change(session_id=session_id, changed={"name": name}, previous={"name": before.name})


async def main(folder: str) -> None:
    async with Client(create_server(JsonFolder(Path(folder)))) as client:
        print(json.dumps((await client.call_tool("list_sessions")).structured_content))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
