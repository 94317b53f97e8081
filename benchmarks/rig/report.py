"""Results as Markdown: what was run, when, on what kind of machine, and tables."""

from __future__ import annotations

import math
import os
import platform
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).parents[1] / "results"


def machine():
    """Say on what it ran in words that name no host."""
    model = "processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
            break
    gib = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def told(command):
    """Say what ran, when and where; the machine's load says how much the figures are worth."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    load, cores = os.getloadavg()[0], os.cpu_count()
    return (
        f"`{command}`, {date}, on {machine()}. Load average of the machine at the end of the run, which"
        f" itself keeps {cores} cores busy: {load:.1f}."
    )


def heading(title, command, note=""):
    """Begin a page of results."""
    lines = [f"# {title}", "", told(command)]
    return "\n".join([*lines, *(["", note] if note else []), ""])


def table(head, rows):
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def quantile(values, part):
    """Return the smallest value that `part` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def ms(seconds):
    """Return milliseconds with two decimals, or a dash."""
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def write(name, text):
    """Write a page below benchmarks/results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text)
