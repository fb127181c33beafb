"""Pages of the gateway's own: to try it, and to see what is saved and decided."""
