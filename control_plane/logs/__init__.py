"""Reads the log files of hosts, the control plane and the anchor; needs no control plane.

Standard library only.
"""

from control_plane.logs.line import LEVELS, LogLine
from control_plane.logs.reader import LogReader, gently

__all__ = ["LEVELS", "LogLine", "LogReader", "gently"]
