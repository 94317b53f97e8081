from __future__ import annotations

import time

import pytest

from proxy.core.devices import Device, device_of

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BLINK = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"


@pytest.mark.parametrize(
    ("agent", "program", "system"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", "Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Safari/537.36", "Chrome", "Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0) {BLINK} Safari/537.36 Edg/142.0.0.0", "Edge", "Windows"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {BLINK} Safari/537.36 OPR/120.0", "Opera", "Mac"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/18.0 Safari/605.1.15", "Safari", "Mac"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {WEBKIT} Version/18.0 Mobile/15E148 Safari/604.1", "Safari", "iPhone"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {WEBKIT} CriOS/142.0 Mobile/15E148 Safari/604.1", "Chrome", "iPhone"),
        (f"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) {WEBKIT} FxiOS/140.0 Mobile/15E148 Safari/605.1.15", "Firefox", "iPad"),
        ("Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 SamsungBrowser/25.0 Chrome/121.0 Mobile Safari/537.36", "Samsung Internet", "Android"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {BLINK} Safari/537.36", "Chrome", "ChromeOS"),
        (f"Mozilla/5.0 (Windows NT 10.0) {BLINK} Whale/3.26 Safari/537.36", "Whale", "Windows"),
        ("curl/8.5.0", "curl", None),
        ("okhttp", "okhttp", None),
        ("MyApp/1.0 (iPhone; iOS 18)", "MyApp", "iPhone"),
        ("Mozilla/5.0", None, None),
        ("", None, None),
        (None, None, None),
        ("<script>alert(1)</script>", None, None),
        ("\x1b[2J", None, None),
    ],
)  # fmt: skip
def test_people_know_their_devices_again(agent, program, system):
    """The words that people use, or nothing: never a piece of the header that is no product's name."""
    assert Device(program, system) == device_of(agent)


def test_a_hostile_agent_costs_no_time():
    """However long it is."""
    began = time.process_time()
    for agent in ("Mozilla/" * 100_000, "a" * 1_000_000, "(" * 1_000_000):
        device_of(agent)

    assert time.process_time() - began < 0.5
