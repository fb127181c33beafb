"""A page of the gateway's own: what is saved, and what was decided, for who has no Grafana."""
