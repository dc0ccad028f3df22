"""Begins to answer a client from the answer cache of its settings, before the SDK is loaded."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from platformdirs import user_cache_dir

from .. import __version__
from ..backends.registry import environment_of, mask_passwords
from ..config.backend_addresses import read_addresses
from ..config.settings import SETTINGS, BadSetting, Settings
from ..transports.stdio.answer_cache import AnswerCache
from ..transports.stdio.early_answers import EarlyAnswers, can_answer_early

_WITHOUT_EFFECT = ("session", "log_level")  # on the cached answers; the session often differs at each start


def start_early(settings: Settings, environ: Mapping[str, str]) -> EarlyAnswers | None:
    """Start answering from the cache. Return None if early answers aren't possible here."""
    if settings.transport != "stdio" or not can_answer_early():
        return None
    folder = Path(user_cache_dir("mcp-sessions", appauthor=False))
    version = _installed_version()
    if not folder.is_absolute() or not version:
        return None
    try:
        path = folder / "answers" / f"{settings_hash(settings, environ)}.json"
    except BadSetting:
        return None  # the start refuses it
    early = EarlyAnswers(AnswerCache(path, version))
    early.start()
    return early


def settings_hash(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return a hash of all settings, including the variables that the backends read. Credentials are not part of it."""
    given = settings.variables()
    for name in _WITHOUT_EFFECT:
        given.pop(SETTINGS[name].variable, None)
    for setting in SETTINGS.values():
        if not setting.flag:
            given.pop(setting.variable, None)
    for variable in settings.backend_credentials:
        given.pop(variable, None)
    if (overlay := SETTINGS["overlay"].variable) in given:
        given[overlay] = mask_passwords(given[overlay])
    addresses = read_addresses(settings.backend)
    given[SETTINGS["backend"].variable] = " ".join(mask_passwords(str(address)) for address in addresses)
    for variable in (variable for address in addresses for variable in environment_of(address.url)):
        # A proxy's URL may contain a password.
        if variable.name in environ and not variable.is_secret and not variable.is_proxy:
            given[variable.name] = environ[variable.name]
    return _hash(given)


def _installed_version() -> str:
    """Return a hash of this package's files and of the installed packages' versions, or "" if it can't be determined.

    The files' times are part of it, since in a checkout the code changes and the version doesn't.
    """
    sdk = PathFinder.find_spec("mcp")
    if sdk is None or sdk.origin is None:
        return ""
    try:
        packages = sorted(name for name in os.listdir(Path(sdk.origin).parents[1]) if name.endswith(".dist-info"))  # noqa: PTH208 - faster
        files = [
            (str(path), status.st_mtime_ns, status.st_size)
            for path in sorted(Path(__file__).parents[1].rglob("*.py"))
            for status in [path.stat()]
        ]
    except OSError:
        return ""
    return _hash([__version__, platform.python_version(), packages, files])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
