"""The ways in which a deletion can be confirmed."""

from typing import Literal

ConfirmMode = Literal["auto", "user", "code", "off"]
"""By the user if the client can ask, else by a code given to the model; by the user only; by the code only; not at all.
"""
