"""The ledger: one row a request, without any text, in SQLite or PostgreSQL."""
