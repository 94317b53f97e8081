from __future__ import annotations

import time

from proxy.adapters.telemetry.clock import Clock


def test_times_are_utc_for_programs_and_local_for_people():
    """Both keep milliseconds, and the part made once a second follows the second."""
    clock = Clock(time.time)
    assert "2026-09-21T14:13:20.250Z" == clock.iso(1_790_000_000.25)
    assert "2026-09-21T14:13:20.999Z" == clock.iso(1_790_000_000.9999)
    assert "2026-09-21T14:13:21.000Z" == clock.iso(1_790_000_001.0)
    local = time.strftime("%H:%M:%S", time.localtime(1_790_000_000))
    assert f"{local}.250" == clock.hours(1_790_000_000.25)
