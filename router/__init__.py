"""Decide how hard to think: prompt features, estimates, policy. Pure, and light at run time."""
