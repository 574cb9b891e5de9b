"""Chaos: a backend under load, faults from a seeded schedule, and invariants that hold all the same."""
