"""The gateway: one public address for the routes of every component."""

from __future__ import annotations

from components.gateway.gateway import Gateway

__all__ = ["Gateway"]
