"""SQLite and PostgreSQL for everything this project stores: connections, schema steps, full-text search."""
