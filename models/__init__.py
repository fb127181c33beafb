"""The offline part: outcomes, the demo domain, training, and studies of the router."""
