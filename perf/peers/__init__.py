"""The demo's components under other supervisors, for benchmarks."""
