"""The `mcp-sessions` command: its parser, and a module with a function `run` for each subcommand."""
