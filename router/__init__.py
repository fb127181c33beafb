"""Choose the reasoning effort of a request: prompt features, estimates, policy.

The modules of this folder serve requests: pure functions over numpy. `router.fitting` fits routers
and `router.evaluation` replays them; neither is imported at run time.
"""
