"""The embedded engine: a small CPU engine that speaks vLLM's dialect.

For demos, tests and models of a few million parameters; serve anything larger with vLLM. It runs
as a process of its own and knows nothing of the gateway.
"""
