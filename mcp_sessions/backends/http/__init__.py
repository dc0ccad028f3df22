"""How a backend talks to its system over HTTP: deadlines, retries, limits, connections and credentials."""
