"""The Streamable HTTP transport, for many clients."""
