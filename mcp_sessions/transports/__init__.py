"""The ways a client reaches the server: stdio here, Streamable HTTP beside it."""
