"""The OpenAPI description of the gateway: request bodies, response bodies, and operations."""
