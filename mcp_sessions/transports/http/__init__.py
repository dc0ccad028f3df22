"""Serve many clients over Streamable HTTP."""
