"""The transports over which a client reaches the server: stdio and Streamable HTTP."""
