"""The command line (reference.md §3).

Commands parse, call the services, and print; what never belongs here: rules of the gate.
"""

from proxy.run.first_process import end_on_sigterm
from proxy.run.imports import importing


def main() -> None:
    """Run the command line."""
    end_on_sigterm()
    with importing():
        from proxy.cli.app import main as run  # noqa: PLC0415 - it takes long, and a signal may come

    run()


__all__ = ["main"]
