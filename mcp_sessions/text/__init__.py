"""Stored text: making it safe to show, redacting credentials, and comparing words."""
