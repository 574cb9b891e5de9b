"""Runs a backend in several ways, one after the other, and says which suits it, with the figures."""
