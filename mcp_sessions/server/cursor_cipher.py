"""Cursors as strangers get them: what they hold, such as how far everybody's rows have come, is for us alone."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ..errors import Invalid

_BLOCK = 16
ROOM = 80
"""The characters by which a sealed cursor is longer than a plain one, at most."""


class Seal:
    """Makes plain cursors unreadable (AES-SIV, RFC 5297), each for one user; the same one always looks the same."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(blake2b(secret, digest_size=32, person=b"cursor").digest())

    def close(self, cursor: str, user_id: str) -> str:
        # All of one length, as far as they go: how many digits a number has would tell how large it is.
        padded = cursor.ljust(-(-len(cursor) // _BLOCK) * _BLOCK)
        return urlsafe_b64encode(self._cipher.encrypt(padded.encode(), [user_id.encode()])).decode().rstrip("=")

    def open(self, sealed: str, user_id: str) -> str:
        """Raises `Invalid` for what was not sealed here, for this user."""
        try:
            content = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            return self._cipher.decrypt(content, [user_id.encode()]).decode().rstrip(" ")
        except (ValueError, InvalidTag):
            raise Invalid(
                '"cursor" is not one that this tool returned to you. Leave it out to start from the beginning.'
            ) from None
