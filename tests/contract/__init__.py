"""The contract: one suite over every backend.

It runs over the harnesses named in `cells.HARNESSES`. To run it over another backend, subclass `Harness` (see
`harness.py`, and `custom.py` for a short one) anywhere and name the class, or several separated by commas:

    MCP_SESSIONS_CONTRACT=package.module:Class pytest tests/contract

A test is there for each backend that declares the operations it is marked with; an operation that a backend doesn't
declare must be refused. What a system can't do right is named in its harness's `deviations`, and must really fail.
"""
