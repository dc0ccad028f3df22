"""The MCP server: what happens to a call between the SDK and a tool's function."""
