"""The command line (reference.md §3).

Commands parse, call the services, and print; what never belongs here: rules of the gate.
"""

from proxy.cli.app import main

__all__ = ["main"]
