"""Schemes: the configured ways to authenticate, each a file of its own.

A scheme answers with one of four outcomes, kept apart: authenticated, absent, rejected, and
*unavailable*, which raises `DependencyUnavailable`.
"""

from proxy.services.schemes.port import Carried, Place, Scheme

__all__ = ["Carried", "Place", "Scheme"]
