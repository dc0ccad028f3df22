"""The stdio transport, for one client."""
