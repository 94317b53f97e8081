"""Latchgate: one gate, either key."""

__version__ = "0.1.0"
