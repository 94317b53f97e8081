"""Fuzz one target, or each in turn: `python -m tests.fuzz.run --target paths --seconds 20`.

With atheris where it is installed (guided by coverage), else by mutations of the seeds in
tests/fuzz/corpus. Inputs that fail are written to tests/fuzz/crashes; put them into the corpus with
the correction, where `make test` replays them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import engine

HERE = Path(__file__).parent
TARGETS = sorted(path.stem for path in (HERE / "targets").glob("*.py"))
CRASHES = HERE / "crashes"
# A target whose inputs have the form of another's begins with the other's seeds, too.
_SHARED = {"lanes": ["heads"]}


def corpora_of(target: str) -> list[Path]:
    """Return the directories of a target's seeds, its own first."""
    return [HERE / "corpus" / name for name in (target, *_SHARED.get(target, ()))]


def seeds_of(target: str) -> list[bytes]:
    """Return the seeds of a target, in the order of their names."""
    return [path.read_bytes() for corpus in corpora_of(target) for path in sorted(corpus.iterdir())]


def main() -> int:
    """Run as the command line says; 1 if anything went wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    options.add_argument("--inputs", type=int, help="stop after so many")
    options.add_argument("--seconds", type=float, help="stop after so long")
    options.add_argument("--seed", type=int, default=0, help="of the random numbers")
    options.add_argument("--engine", choices=["auto", "atheris", "mutation"], default="auto")
    chosen = options.parse_args()
    if chosen.inputs is None and chosen.seconds is None:
        options.error("--inputs or --seconds says when to stop")
    if chosen.target == "all":
        return _each(sys.argv[1:])
    is_guided = chosen.engine == "atheris" or (
        chosen.engine == "auto" and importlib.util.find_spec("atheris") is not None
    )
    run = _guided if is_guided else _mutated
    return run(chosen.target, chosen.inputs, chosen.seconds, chosen.seed)


def _each(arguments: list[str]) -> int:
    """Run every target in a process of its own: atheris ends its process."""
    command = [sys.executable, "-m", "tests.fuzz.run", *arguments]
    failed = [
        target
        for target in TARGETS
        if subprocess.run([*command, "--target", target], check=False).returncode
    ]
    if failed:
        print(f"went wrong: {', '.join(failed)}")
    return 1 if failed else 0


def _mutated(target: str, inputs: int | None, seconds: float | None, seed: int) -> int:
    harness = importlib.import_module(f"tests.fuzz.targets.{target}")
    account = engine.run(
        harness.one_input,
        seeds_of(target),
        words=harness.WORDS,
        inputs=inputs,
        seconds=seconds,
        seed=seed,
    )
    print(
        f"{target}: {account.inputs} inputs in {account.seconds:.0f} s by mutation, "
        f"{len(account.crashes)} crashes, slowest {account.slowest_s:.3f} s of CPU"
    )
    for place, data in account.crashes.items():
        CRASHES.mkdir(exist_ok=True)
        path = CRASHES / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"  {place}: {path.relative_to(HERE.parent.parent)}")
    return 1 if account.crashes else 0


def _guided(target: str, inputs: int | None, seconds: float | None, seed: int) -> int:
    words = importlib.import_module(f"tests.fuzz.targets.{target}").WORDS
    CRASHES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        found, listed = Path(directory, "found"), Path(directory, "words")
        found.mkdir()
        lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in words)
        listed.write_text("\n".join(lines))
        arguments = [
            f"-dict={listed}",
            f"-seed={seed + 1}",
            f"-max_len={engine.MAX_BYTES}",
            f"-artifact_prefix={CRASHES}/{target}-",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        arguments += [] if inputs is None else [f"-runs={inputs}"]
        arguments += [] if seconds is None else [f"-max_total_time={int(seconds)}"]
        command = [sys.executable, "-m", "tests.fuzz.guided", target, *arguments]
        done = subprocess.run(
            [*command, str(found), *map(str, corpora_of(target))],
            check=False,
            text=True,
            errors="replace",
            capture_output=True,
        )
    count = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    print(f"{target}: {count[1] if count else 'an unknown number of'} inputs by atheris")
    if done.returncode:
        print(done.stdout, done.stderr)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
