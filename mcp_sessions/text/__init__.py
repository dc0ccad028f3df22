"""What stored text may look like when it is shown, and how words are compared."""
