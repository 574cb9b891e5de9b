"""One suite for every store of shared state."""
