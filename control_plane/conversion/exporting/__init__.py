"""Writes a configuration as files of other tools: one module a format.

Components with a `command` become processes of their own; the others are run by `ctl host`.
"""
