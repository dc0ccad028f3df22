"""What the settings are, how their text is parsed, and how a server is built from them."""
