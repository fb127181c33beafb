"""The ledger: a table with one row per request to a reasoning endpoint.

A row holds the decision (effort, source, budget, arm and its probability, the router's estimates),
the token counts and times, the status, and feedback; never text of a prompt or an answer. Savings,
off-policy evaluation and the dashboard are computed from it. It is kept in SQLite or PostgreSQL,
and gateways on one database share it.
"""
