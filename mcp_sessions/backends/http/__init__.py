"""The HTTP client of backends that are reached over HTTP: deadlines, retries, limits, connections and credentials."""
