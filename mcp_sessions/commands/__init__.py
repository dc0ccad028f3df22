"""One command a file: `run(settings)` returns the exit status."""
