"""The `mcp-sessions` command: its parser, and one module for each subcommand."""
