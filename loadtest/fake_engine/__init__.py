"""A scripted engine in vLLM's dialect, for tests and benchmarks: `python -m loadtest.fake_engine`.

It replaces engines that are slow, stall, fail or die on command, which no real engine does. It is
fast enough that benchmarks measure the proxy and not the engine. The last message of a request is
its script (see `loadtest.fake_engine.script`).
"""
