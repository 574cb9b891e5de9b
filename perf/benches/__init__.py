"""One file for each thing that is measured. Each has `measure(record)`, which runs one round.

A round measures every system in turn, so that what the machine does meanwhile hits all alike.
"""
