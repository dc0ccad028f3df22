"""The entry point of the `mcp-sessions` command: read the settings, set up logging, run a subcommand."""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module

from ..config.settings import SETTINGS, BadSetting, Settings
from ..config.unknown_variables import unknown_variables
from ..errors import replace_unprintable
from .parser import parser
from .refusals import refuse

logger = logging.getLogger(__name__)

_LINE = 300  # characters


class _SafeFormatter(logging.Formatter):
    """A formatter that shortens lines and removes control characters, since a log may quote a Host header."""

    converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        lines = super().formatMessage(record).split("\n")
        return "\n".join(replace_unprintable(line[:_LINE]) for line in lines)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a subcommand. Return its exit status, 2 for a bad setting."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command") or "serve"
    try:
        settings = Settings.read(given, environ)
    except BadSetting as error:
        return refuse(str(error))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(handlers=[handler], level=settings.log_level)
    # Below WARNING, these libraries log whole messages, with stored text, and whole URLs.
    level = logging.getLevelNamesMapping()[settings.log_level]
    for name in ("mcp", "sse_starlette", "httpx2"):
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
    if command != "doctor":  # it prints them as checks
        for text in unknown_variables(environ, settings):
            logger.warning(text)
    own = {name: value for name, value in given.items() if name not in SETTINGS}
    if command == "serve":
        from .early_start import start_early

        own["early"] = early = start_early(settings, environ)
        if early:
            early.wait()
    module = import_module(f".{command}", __package__)
    return module.run(settings, **own)
