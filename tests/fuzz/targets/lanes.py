"""Bytes on a client's connection, through each lane of a gate: the same answers, requests and log lines.

Input: as that of `heads`. It is sent three times, each time on a connection of its own, so that the
memo has seen it.
"""

from __future__ import annotations

import atexit

from tests.fuzz.targets.heads import SIZES, WORDS, _Gate
from tests.lanes import COMPARED
from tests.trio import account, equal

__all__ = ["WORDS", "one_input"]

ROUNDS = 3
_INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
_GATES: dict[str, _Gate] = {}


@atexit.register
def _close() -> None:
    """Close what is left, or the interpreter would wait for it at its end."""
    while _GATES:
        _GATES.popitem()[1].loop.close()


def one_input(data: bytes) -> None:
    """Send bytes through each lane, and compare all that came of it."""
    if not _GATES:
        _GATES.update({mode: _Gate(mode) for mode in COMPARED})
    try:
        tokens = _GATES["off"].tokens()
        ordinary = _told(_GATES["off"], data, tokens)
        for mode in COMPARED[1:]:
            other = _told(_GATES[mode], data, tokens)
            for number, (one, two) in enumerate(zip(ordinary, other, strict=True)):
                assert one == two, f"{mode}, {number}: {one!r} became {two!r}"
    except BaseException:
        _close()  # the next input finds gates without a past
        raise


def _told(gate: _Gate, data: bytes, tokens: dict[bytes, bytes]) -> list[object]:
    raw = data[1:]
    for mark, token in tokens.items():
        raw = raw.replace(mark, token)
    size = SIZES[data[0] & 7 if data else 0]
    pauses = bool(data and data[0] & 8)
    told: list[object] = []
    for _ in range(ROUNDS):
        gate.records.clear()
        gate.loop.connected.clear()
        answers = gate.loop.run_until_complete(gate.converse(raw, size, pauses=pauses))
        assert not gate.loop.errors, gate.loop.errors.pop()
        sent = [
            (method, target, [(name, equal(value)) for name, value in fields])
            for backend in gate.loop.connected
            for method, target, fields in backend.requests
        ]
        answers = answers.replace(_INTERIM, b"")  # whether a client is still asked, is chance
        told += [equal(answers), sorted(sent), [account(record) for record in gate.records]]
    return told
