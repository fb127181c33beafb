"""Settings that were renamed: the old names are accepted for one release, with a warning."""

RENAMED = {
    "allow_open": "allow_unauthenticated",
    "mean_tokens": "tokens_per_request",
    "load_in_flight": "overload_requests",
    "load_wait_seconds": "overload_ttft",
    "load_price": "overload_price",
    "explore_share": "exploration_share",
    "ledger_days": "ledger_retention_days",
    "body_seconds": "body_timeout",
    "silence_seconds": "upstream_timeout",
    "unread_seconds": "client_write_timeout",
    "drain_seconds": "shutdown_timeout",
}
"""Old name to new name. Remove after release 0.2."""
