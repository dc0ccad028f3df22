"""JWTs of one issuer, checked against its public keys (RFC 7519, 7517, 9068)."""

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
from .operator_file import WatchedFile
from .tokens import SUBJECT_LENGTH

_AHEAD_SECONDS = 30  # by which the issuer's clock may be ahead; what has expired here has expired
_KEPT_SECONDS = 3600
_LEAST_SECONDS = 10  # between two fetches, however many tokens name keys that nobody knows
_FETCH_SECONDS = 5
_MOST_BYTES = 1024 * 1024
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is of the future, by this machine's clock",
    jwt.InvalidAudienceError: "its aud is not --jwt-audience",
    jwt.InvalidIssuerError: "its iss is not --jwt-issuer",
    jwt.InvalidSignatureError: "its signature is not by the key that it names",
    jwt.MissingRequiredClaimError: "it lacks one of exp, iss, aud and sub",
}

logger = logging.getLogger(__name__)


class JwtVerifier:
    """Lets in what the issuer signed for this audience, by one of these algorithms, and that has not expired."""

    def __init__(self, issuer: str, audience: str, keys: "KeySet", algorithms: Collection[str]) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._algorithms = list(algorithms)

    async def verify_token(self, token: str) -> Identity | None:
        """Whom a token names; None for one that isn't let in. Raises `Unavailable` where no key can be had."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                return _refused("its algorithm is not one of --jwt-algorithms")
            key = await self._keys.find(header.get("kid"), algorithm)
            if key is None:
                return _refused("its key is not among the issuer's")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_AHEAD_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:  # whatever is wrong with it
            return _refused(_REASONS.get(type(error), "it is malformed"))
        if int(claims["exp"]) <= time():
            return _refused(_REASONS[jwt.ExpiredSignatureError])
        return _identity(claims)


def _refused(reason: str) -> None:
    """For whoever looks for it in the log; strangers learn nothing of it."""
    logger.info("a JWT was refused: %s", reason)


def _identity(claims: Mapping[str, Any]) -> Identity | None:
    subject = claims["sub"]
    if not 0 < len(subject) <= SUBJECT_LENGTH or not subject.isprintable():
        return _refused(f"its sub is not of 1 to {SUBJECT_LENGTH} characters that can be seen")
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

    What a URL gave is kept for an hour and fetched anew when a token names a key that is not among it. While it
    can't be fetched, the keys of before are held on to.
    """

    def __init__(self, source: str) -> None:
        self._url = source if "://" in source else ""
        self._file = WatchedFile("--jwt-jwks", source, _keys_of, "an https:// URL, or a file, with the keys as a JWKS")
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at = 0.0
        self._tried_at = 0.0
        self._fetching = anyio.Lock()

    def check(self) -> None:
        """Raises `BadSetting` for a URL that others could answer for, and for a file without keys."""
        if not self._url:
            self._file.check()
            return
        if not is_url(self._url) or not _is_sendable(self._url):
            raise self._file.refused("it is no whole URL of that kind")
        url = urlsplit(self._url)
        if "@" in url.netloc:
            raise BadSetting("--jwt-jwks holds a credential, which others could read there. It accepts a URL without.")
        if not (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))):
            raise self._file.refused("keys from there could be anyone's")

    async def find(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        """The key that a token names, or the only one there is for a token that names none.

        Raises `Unavailable` while there are no keys at all.
        """
        if not self._url:
            self._read_file()
        elif not self._keys or anyio.current_time() > self._fetched_at + _KEPT_SECONDS:
            await self._fetch_again()
        found = self._among(kid, algorithm)
        if found is None and kid is not None and self._url:
            await self._fetch_again()
            found = self._among(kid, algorithm)
        return found

    async def has_any(self, algorithms: Collection[str]) -> bool:
        """Whether a key is there for one of them. Raises as `find` does."""
        await self.find(None, next(iter(algorithms)))
        return bool({key.key_type for key in self._keys} & {_KEY_TYPES[algorithm[:2]] for algorithm in algorithms})

    def _read_file(self) -> None:
        try:
            self._keys = self._file.read()
        except (OSError, ValueError):
            logger.error("%s can't be read, so no JWT is let in", self._file.path)
            self._keys = []

    def _among(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        type = _KEY_TYPES[algorithm[:2]]
        fitting = [key for key in self._keys if key.key_type == type]
        named = [key for key in fitting if key.key_id == kid] if kid is not None else fitting
        return named[0] if len(named) == 1 else None

    async def _fetch_again(self) -> None:
        """Unless that was tried just now."""
        async with self._fetching:
            now = anyio.current_time()
            if not self._tried_at or now > self._tried_at + _LEAST_SECONDS:
                self._tried_at = now
                try:
                    self._keys, self._fetched_at = _keys_of(await self._fetch()), now
                except (httpx2.HTTPError, ValueError, TimeoutError) as error:
                    logger.error("the keys of --jwt-jwks can't be fetched (%s)", type(error).__name__)
            if not self._keys:
                raise Unavailable("the issuer's keys can't be had now. Try again in 10 seconds.")

    async def _fetch(self) -> bytes:
        body = bytearray()
        with anyio.fail_after(_FETCH_SECONDS):
            async with httpx2.AsyncClient(trust_env=False) as http, http.stream("GET", self._url) as response:
                if response.status_code != 200:
                    raise ValueError("no keys came")
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ValueError("too much came")
        return bytes(body)


def _keys_of(text: bytes) -> list[jwt.PyJWK]:
    """The public keys for signatures of a JWKS. Raises `ValueError` where there are none."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    listed = document.get("keys") if is_object(document) else None
    keys: list[jwt.PyJWK] = []
    for item in listed if is_array(listed) else []:
        if not is_object(item) or item.get("use", "sig") != "sig" or item.get("kty") not in _KEY_TYPES.values():
            continue
        if "d" in item:
            continue  # a private key, which nobody but the issuer may have
        try:
            keys.append(jwt.PyJWK(item))
        except (jwt.PyJWTError, TypeError):
            continue  # of a kind that is not known here
    if not keys:
        raise ValueError("no public keys")
    return keys


def _is_sendable(url: str) -> bool:
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
