"""The settings, the parsers of their values, and building a server from them."""
