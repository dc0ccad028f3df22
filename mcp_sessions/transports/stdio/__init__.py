"""Serve one client over stdin and stdout."""
