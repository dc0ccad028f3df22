"""The ways in which a deletion can be confirmed."""

from typing import Literal

ConfirmMode = Literal["auto", "user", "code", "off"]
"""`user`: by the user. `code`: by a code that the model sends back. `off`: not at all.

`auto`: by the user if the client can ask them, else by a code.
"""
