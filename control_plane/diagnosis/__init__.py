"""Looks at components without launching them: what they are, and what a user should know of their code."""

from control_plane.diagnosis.examination import examine
from control_plane.diagnosis.findings import Finding

__all__ = ["Finding", "examine"]
