"""Authentication over HTTP: tokens, JWTs, and each caller's credential for the backend."""
