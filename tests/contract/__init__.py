"""The contract suite: tests that every backend must pass.

It runs on the harnesses in `cells.HARNESSES`. To run it on another backend, subclass `Harness` (see
`harness.py`, and `custom.py` for a short one) anywhere and name the class, or several separated by commas:

    MCP_SESSIONS_CONTRACT=package.module:Class pytest tests/contract

A test runs on each backend that declares the operations in the test's mark. A backend must refuse the operations that
it doesn't declare. Tests that a system can't pass are listed in its harness's `deviations`, and must really fail.
"""
