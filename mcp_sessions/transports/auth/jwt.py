"""Verifies JWTs of one issuer with its public keys (RFC 7519, 7517, 9068)."""

import json
import logging
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from time import time
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt

from ...config.settings import BadSetting, is_url
from ...errors import Unavailable
from ...json_documents import is_array, is_object
from ...server.identity import Identity
from .operator_file import OperatorFile
from .tokens import SUBJECT_LENGTH

_AHEAD_SECONDS = 30  # how far the issuer's clock may be ahead; expiry has no such tolerance
_CACHE_SECONDS = 3600
_FETCH_INTERVAL = 10  # minimum seconds between two fetches, even if many tokens name unknown keys
_FETCH_SECONDS = 5
_MAX_BYTES = 1024 * 1024
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet, by this machine's clock",
    jwt.InvalidAudienceError: "its aud is not --jwt-audience",
    jwt.InvalidIssuerError: "its iss is not --jwt-issuer",
    jwt.InvalidSignatureError: "its signature doesn't match the key that it names",
    jwt.MissingRequiredClaimError: "it lacks one of exp, iss, aud and sub",
}

logger = logging.getLogger(__name__)


class JwtVerifier:
    """Accepts unexpired JWTs that the issuer signed for this audience with one of these algorithms."""

    def __init__(self, issuer: str, audience: str, keys: "KeySet", algorithms: Collection[str]) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._algorithms = list(algorithms)

    async def verify_token(self, token: str) -> Identity | None:
        """Return the identity of a valid token, else None. Raise `Unavailable` if the keys can't be fetched."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                return _log_refusal("its algorithm is not one of --jwt-algorithms")
            key = await self._keys.find(header.get("kid"), algorithm)
            if key is None:
                return _log_refusal("its key is not among the issuer's")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_AHEAD_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:  # a malformed token can raise any
            return _log_refusal(_REASONS.get(type(error), "it is malformed"))
        if int(claims["exp"]) <= time():
            return _log_refusal(_REASONS[jwt.ExpiredSignatureError])
        return _identity(claims)


def _log_refusal(reason: str) -> None:
    """Log why a token was refused. The response doesn't give the reason, since anybody can send a token."""
    logger.info("a JWT was refused: %s", reason)


def _identity(claims: Mapping[str, Any]) -> Identity | None:
    subject = claims["sub"]
    if not 0 < len(subject) <= SUBJECT_LENGTH or not subject.isprintable():
        return _log_refusal(f"its sub does not have 1 to {SUBJECT_LENGTH} printable characters")
    words, listed = claims.get("scope"), claims.get("scopes")
    scopes: list[object] = [*words.split()] if isinstance(words, str) else []
    scopes += listed.split() if isinstance(listed, str) else listed if is_array(listed) else []
    return Identity(
        client_id=subject,
        subject=subject,
        scopes=[scope for scope in scopes if isinstance(scope, str)],
        claims={"iss": claims["iss"]},
    )


class KeySet:
    """An issuer's public keys, from a file or a URL.

    Keys from a URL are cached for an hour, and fetched again when a token names an unknown key. If fetching fails, the
    earlier keys stay valid.
    """

    def __init__(self, source: str) -> None:
        self._url = source if "://" in source else ""
        self._file = OperatorFile(
            "--jwt-jwks", source, _parse_keys, "an https:// URL, or a file, with the keys as a JWKS"
        )
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at = 0.0
        self._tried_at = 0.0
        self._fetching = anyio.Lock()

    def check(self) -> None:
        """Raise `BadSetting` for an invalid or unencrypted URL, or for a file without keys."""
        if not self._url:
            self._file.check()
            return
        if not is_url(self._url) or not _is_sendable(self._url):
            raise self._file.bad_setting("it is not a complete URL of that kind")
        url = urlsplit(self._url)
        if "@" in url.netloc:
            raise BadSetting("--jwt-jwks contains a credential, which others could read. It accepts a URL without one.")
        if not (url.scheme == "https" or (url.scheme == "http" and _is_this_machine(url.hostname or ""))):
            raise self._file.bad_setting("others on the network could replace the keys")

    async def find(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, or the only key for the algorithm if it names none; None if there is none.

        Raise `Unavailable` if there are no keys at all.
        """
        if not self._url:
            self._read_file()
        elif not self._keys or anyio.current_time() > self._fetched_at + _CACHE_SECONDS:
            await self._fetch_again()
        key = self._select(kid, algorithm)
        if key is None and kid is not None and self._url:
            await self._fetch_again()
            key = self._select(kid, algorithm)
        return key

    async def has_any(self, algorithms: Collection[str]) -> bool:
        """Return whether there is a key for one of the algorithms. Raise `Unavailable` as `find` does."""
        await self.find(None, next(iter(algorithms)))
        return bool({key.key_type for key in self._keys} & {_KEY_TYPES[algorithm[:2]] for algorithm in algorithms})

    def _read_file(self) -> None:
        try:
            self._keys = self._file.read()
        except (OSError, ValueError):
            logger.error("%s can't be read, so no JWT is accepted", self._file.path)
            self._keys = []

    def _select(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        type = _KEY_TYPES[algorithm[:2]]
        keys = [key for key in self._keys if key.key_type == type and kid in (None, key.key_id)]
        return keys[0] if len(keys) == 1 else None

    async def _fetch_again(self) -> None:
        """Fetch the keys, unless that was tried less than 10 seconds ago. Raise `Unavailable` if there are none."""
        async with self._fetching:
            now = anyio.current_time()
            if not self._tried_at or now > self._tried_at + _FETCH_INTERVAL:
                self._tried_at = now
                try:
                    self._keys, self._fetched_at = _parse_keys(await self._fetch()), now
                except (httpx2.HTTPError, ValueError, TimeoutError) as error:
                    logger.error("the keys of --jwt-jwks can't be fetched (%s)", type(error).__name__)
            if not self._keys:
                raise Unavailable("the issuer's keys can't be fetched now. Try again in 10 seconds.")

    async def _fetch(self) -> bytes:
        body = bytearray()
        with anyio.fail_after(_FETCH_SECONDS):
            async with httpx2.AsyncClient(trust_env=False) as http, http.stream("GET", self._url) as response:
                if response.status_code != 200:
                    raise ValueError("not the keys")
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MAX_BYTES:
                        raise ValueError("too large")
        return bytes(body)


def _parse_keys(text: bytes) -> list[jwt.PyJWK]:
    """Return the public signature keys of a JWKS. Raise `ValueError` if there are none."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    listed = document.get("keys") if is_object(document) else None
    keys: list[jwt.PyJWK] = []
    for item in listed if is_array(listed) else []:
        if not is_object(item) or item.get("use", "sig") != "sig" or item.get("kty") not in _KEY_TYPES.values():
            continue
        if "d" in item:
            continue  # a private key, which only the issuer may have
        try:
            keys.append(jwt.PyJWK(item))
        except (jwt.PyJWTError, TypeError):
            continue  # an unsupported kind of key
    if not keys:
        raise ValueError("no public keys")
    return keys


def _is_sendable(url: str) -> bool:
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return True


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
