"""`python -m mcp_sessions`: the same as the `mcp-sessions` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
