"""`python -m mcp_sessions`: the same as the `mcp-sessions` command."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
