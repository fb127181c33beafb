"""Load tests over HTTP: arrivals, workload, run, report."""
