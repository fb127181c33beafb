"""The embedded engine: a small CPU engine that speaks vLLM's dialect.

For demos, tests and models of a few million parameters; serve anything larger with vLLM. It runs
as a process of its own. Of the gateway it may import `server.http` only.
"""
