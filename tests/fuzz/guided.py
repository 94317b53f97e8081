"""Run one target under atheris, guided by coverage; started by tests/fuzz/run.py.

Arguments: the target, then libFuzzer's own. libFuzzer ends the process, so whoever starts it tidies up.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Instrument the product, then fuzz."""
    import atheris  # noqa: PLC0415 - it is not there for every Python

    from tests.fuzz import engine  # noqa: PLC0415 - what is imported before is not instrumented

    target, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["proxy"]):
        harness = importlib.import_module(f"tests.fuzz.targets.{target}")
    atheris.Setup([target, *arguments], engine.with_alarm(harness.one_input))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
