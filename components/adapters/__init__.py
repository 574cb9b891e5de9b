"""Components that host what is no component: each adapts one shape of existing code."""
