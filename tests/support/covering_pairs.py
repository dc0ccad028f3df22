"""Pairs of an operation and a fault that cover both lists without their full product."""

from collections.abc import Collection, Iterable
from typing import TypeVar

from mcp_sessions.backends.base import Capability

F = TypeVar("F")


def covering_pairs(
    operations: Collection[str],
    faults: Collection[F],
    *,
    typical_operations: Collection[str],
    typical_faults: Collection[F],
) -> list[tuple[str, F]]:
    """Return every fault with each typical operation, and every operation with each typical fault."""
    assert set(typical_operations) <= set(operations), "a typical operation is not in the list"
    assert set(typical_faults) <= set(faults), "a typical fault is not in the list"
    return [
        (operation, fault)
        for operation in operations
        for fault in faults
        if operation in typical_operations or fault in typical_faults
    ]


def capabilities_in(names: Iterable[str]) -> set[Capability]:
    """Return the capabilities that these names begin with: "delete_session" or "delete_session, archived"."""
    return {Capability(name.partition(",")[0]) for name in names}
