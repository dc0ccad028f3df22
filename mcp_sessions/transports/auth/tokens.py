"""Tokens of our own making: a file with a line of JSON for each, which knows their SHA-256 and never themselves."""

import json
import logging
import secrets
from codecs import BOM_UTF8
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ...caller import Scope
from ...errors import quoted
from ...server.identity import Identity
from .operator_file import WatchedFile

PREFIX = "mcps_"
SUBJECT_LENGTH = 512

logger = logging.getLogger(__name__)


class Line(BaseModel):
    """One token of the file. Without `expires` it never ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    subject: str = Field(min_length=1, max_length=SUBJECT_LENGTH)
    scopes: tuple[Scope, ...]
    expires: datetime | None = None

    @field_validator("subject")
    @classmethod
    def _visible(cls, subject: str) -> str:
        if not subject.isprintable():
            raise ValueError("not printable")
        return subject

    @field_validator("expires")
    @classmethod
    def _in_utc(cls, expires: datetime | None) -> datetime | None:
        return expires if expires is None or expires.tzinfo else expires.replace(tzinfo=UTC)


def new_token(subject: str, scopes: Collection[Scope], expires: datetime | None) -> tuple[str, str]:
    """A token, and its line for the file. Raises `ValueError` for what no line may hold."""
    token = PREFIX + secrets.token_urlsafe(32)
    line = Line(sha256=_digest(token), subject=subject, scopes=tuple(scopes), expires=expires)
    return token, json.dumps(line.model_dump(mode="json", exclude_none=True), ensure_ascii=False)


class TokenFile:
    """The tokens that are let in.

    A line that can't be read lets nobody in and leaves the others as they are; a file that can't be read lets
    nobody in: what an operator takes away is gone at once, also where the taking away went wrong.
    """

    def __init__(self, path: str) -> None:
        accepts = "a file of lines that `mcp-sessions token new` prints"
        self._file = WatchedFile("--tokens", path, _parsed, accepts)
        self._told: list[int] = []

    def check(self) -> tuple[Line, ...]:
        """The tokens. Raises `BadSetting` for a file that can't be read, and for a line that is no token's."""
        lines, wrong = self._file.check()
        if wrong:
            raise self._file.refused(f"its line {wrong[0]} is no token's")
        if not lines:
            logger.warning("%s has no token yet, so nobody is let in by one", self._file.path)
        return lines

    async def verify_token(self, token: str) -> Identity | None:
        """Whom a token names; None for one that isn't let in (any more)."""
        try:
            lines, wrong = self._file.read()
        except (OSError, ValueError):
            logger.error("%s can't be read, so no token is let in", self._file.path)
            return None
        if wrong and wrong != self._told:
            logger.error("%s: no token can be read in these lines: %s", self._file.path, wrong)
        self._told = wrong
        digest, found = _digest(token), None
        for line in lines:
            if compare_digest(line.sha256, digest):
                found = line
        if found is None:
            logger.info("a token was refused: it is not in the file")
            return None
        if found.expires is not None and found.expires <= datetime.now(UTC):
            logger.info("a token of %s was refused: it has expired", quoted(found.subject))
            return None
        return Identity(client_id=found.subject, subject=found.subject, scopes=list(found.scopes))


def _parsed(content: bytes) -> tuple[tuple[Line, ...], list[int]]:
    """The tokens, and the numbers of the lines that are none. Empty lines and those with # are neither."""
    lines: list[Line] = []
    wrong: list[int] = []
    for number, text in enumerate(content.removeprefix(BOM_UTF8).splitlines(), 1):
        if not text.strip() or text.lstrip().startswith(b"#"):
            continue
        try:
            lines.append(Line.model_validate_json(text))
        except ValidationError:
            wrong.append(number)
    return tuple(lines), wrong


def _digest(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()
