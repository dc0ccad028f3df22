"""The `mcp-sessions` command: flags and variables into settings, then into a command."""

import gc
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module

from ..config.settings import OPTIONS, BadSetting, Settings, unknown_variables
from ..errors import visible
from .parser import parser
from .refusals import refuse

logger = logging.getLogger(__name__)

_LINE = 300  # characters of a line of the log that strangers' words may fill


class _Visible(logging.Formatter):
    """What is logged may hold strangers' words, such as a Host header: none of them moves a terminal's cursor."""

    converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        lines = super().formatMessage(record).split("\n")
        return "\n".join(visible(line[:_LINE]) for line in lines)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a command; its exit status. A wrong setting is one line on stderr and 2."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command") or "serve"
    try:
        settings = Settings.read(given, environ)
    except BadSetting as error:
        return refuse(str(error))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(handlers=[handler], level=settings.log_level)
    # Below WARNING these would log whole messages, which hold what people said, and whole URLs.
    level = logging.getLevelNamesMapping()[settings.log_level]
    for name in ("mcp", "sse_starlette", "httpx2"):
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
    if command != "doctor":  # which tells it as a check
        for text in unknown_variables(environ):
            logger.warning(text)
    gc.disable()  # nothing that importing makes is garbage, and looking for some takes a tenth of the start
    module = import_module(f".{command}", __package__)
    gc.freeze()
    gc.set_threshold(10_000)  # an answer of 100 KB is thousands of objects, and no cycle of garbage among them
    gc.enable()
    own = {name: value for name, value in given.items() if name not in OPTIONS}
    return module.run(settings, **own)
