"""The pure core: what is wanted, what was observed, what follows. Knows nothing of I/O, time or chance.

Its modules are imported one by one: the launcher needs the graph alone before it forks, and nothing waits for
the rest.
"""
