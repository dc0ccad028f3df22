"""Who may call over HTTP: tokens, JWTs and the credential for the backend that goes with each caller."""
