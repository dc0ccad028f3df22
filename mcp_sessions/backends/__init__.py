"""Where sessions live: one folder per system, and what any backend may use."""
