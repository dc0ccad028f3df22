"""Errors of a backend that name the command-line flag by which the backend was given."""

from collections.abc import Generator
from contextlib import contextmanager

from ..errors import SessionsError


@contextmanager
def name_flag_in_errors(flag: str) -> Generator[None]:
    """Make errors raised in this context begin with the flag."""
    try:
        yield
    except SessionsError as error:
        raise type(error)(f"{flag}: {error.message}") from error
