"""The gateway: one request flows down its files."""
