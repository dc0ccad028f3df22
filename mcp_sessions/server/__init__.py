"""What happens to a call between the MCP SDK and a tool's function: identity, confirmation, results, audit."""
