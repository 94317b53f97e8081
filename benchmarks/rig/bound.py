"""The end of a run that hangs."""

from __future__ import annotations

import signal


def break_off_after(seconds):
    """Break the run off when it takes longer, through every `finally`: what was started is ended."""

    def over(_number, _frame):
        raise SystemExit(f"broken off: a run that takes more than {seconds} s hangs")

    def ended(_number, _frame):
        raise SystemExit("ended from outside")

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
