"""Tokens of `mcp-sessions token new`, and the file of accepted ones: a line of JSON with the SHA-256 of each token."""

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
from .operator_file import OperatorFile

PREFIX = "mcps_"
SUBJECT_LENGTH = 512

logger = logging.getLogger(__name__)


class TokenRecord(BaseModel):
    """A line of the tokens file. Without `expires`, the token never expires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    subject: str = Field(min_length=1, max_length=SUBJECT_LENGTH)
    scopes: tuple[Scope, ...]
    expires: datetime | None = None

    @field_validator("subject")
    @classmethod
    def _require_printable(cls, subject: str) -> str:
        if not subject.isprintable():
            raise ValueError("not printable")
        return subject

    @field_validator("expires")
    @classmethod
    def _assume_utc(cls, expires: datetime | None) -> datetime | None:
        return expires if expires is None or expires.tzinfo else expires.replace(tzinfo=UTC)


def new_token(subject: str, scopes: Collection[Scope], expires: datetime | None) -> tuple[str, str]:
    """Return a new token, and its line for the file. Raise `ValueError` for an invalid subject."""
    token = PREFIX + secrets.token_urlsafe(32)
    line = TokenRecord(sha256=_digest(token), subject=subject, scopes=tuple(scopes), expires=expires)
    return token, json.dumps(line.model_dump(mode="json", exclude_none=True), ensure_ascii=False)


class TokenFile:
    """The accepted tokens.

    An invalid line is ignored. If the file can't be read, no token is accepted, so that removing a token takes effect
    at once even if editing the file went wrong.
    """

    def __init__(self, path: str) -> None:
        accepts = "a file of lines that `mcp-sessions token new` prints"
        self._file = OperatorFile("--tokens", path, _parse, accepts)
        self._logged_lines: list[int] = []

    def check(self) -> tuple[TokenRecord, ...]:
        """Return the records. Raise `BadSetting` if the file can't be read or has an invalid line."""
        records, invalid = self._file.check()
        if invalid:
            raise self._file.bad_setting(f"line {invalid[0]} is not a valid token record")
        if not records:
            logger.warning("%s has no tokens yet, so none is accepted", self._file.path)
        return records

    async def verify_token(self, token: str) -> Identity | None:
        """Return the identity of an accepted token, else None."""
        try:
            records, invalid = self._file.read()
        except (OSError, ValueError):
            logger.error("%s can't be read, so no token is accepted", self._file.path)
            return None
        if invalid and invalid != self._logged_lines:
            logger.error("%s: these lines are not valid token records: %s", self._file.path, invalid)
        self._logged_lines = invalid
        digest, found = _digest(token), None
        for record in records:
            if compare_digest(record.sha256, digest):
                found = record
        if found is None:
            logger.info("a token was refused: it is not in the file")
            return None
        if found.expires is not None and found.expires <= datetime.now(UTC):
            logger.info("a token of %s was refused: it has expired", quoted(found.subject))
            return None
        return Identity(client_id=found.subject, subject=found.subject, scopes=list(found.scopes))


def _parse(content: bytes) -> tuple[tuple[TokenRecord, ...], list[int]]:
    """Return the records and the numbers of invalid lines. Empty lines and comments (#) are skipped."""
    records: list[TokenRecord] = []
    invalid: list[int] = []
    for number, text in enumerate(content.removeprefix(BOM_UTF8).splitlines(), 1):
        if not text.strip() or text.lstrip().startswith(b"#"):
            continue
        try:
            records.append(TokenRecord.model_validate_json(text))
        except ValidationError:
            invalid.append(number)
    return tuple(records), invalid


def _digest(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()
