from __future__ import annotations

import os

from proxy.adapters.telemetry import writer as module
from proxy.adapters.telemetry.writer import LineWriter


def test_lines_arrive_whole_and_in_order(tmp_path):
    """What is written before close stands in the file, line by line."""
    file = tmp_path / "log"
    with file.open("wb") as out:
        writer = LineWriter(out.fileno())
        for number in range(1000):
            writer.write(b"line %d\n" % number)
        writer.close()
    assert [b"line %d" % number for number in range(1000)] == file.read_bytes().splitlines()


def test_a_reader_that_stands_still_blocks_nobody_and_lines_are_counted(monkeypatch):
    """With a full pipe the caller goes on; what does not fit is dropped and said."""
    monkeypatch.setattr(module, "MAX_LINES", 10)
    read_end, write_end = os.pipe()
    writer = LineWriter(write_end)
    line = b"x" * 2047 + b"\n"
    for _ in range(200):
        writer.write(line)
    for _ in range(10):
        writer.write(line)
    writer.close(timeout_s=0)
    received = b""
    while writer._thread.is_alive() or len(received) < 20 * 2048:
        received += os.read(read_end, 65536)
        writer._thread.join(0.02)
        if not writer._thread.is_alive():
            break
    os.set_blocking(read_end, False)
    while True:
        try:
            part = os.read(read_end, 65536)
        except BlockingIOError:
            break
        received += part
    os.close(write_end)
    os.close(read_end)
    assert b"log lines dropped" in received.splitlines()[-1]


def test_a_reader_that_is_gone_harms_nobody():
    """EPIPE loses lines and nothing else."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    writer = LineWriter(write_end)
    writer.write(b"lost\n")
    writer.close()
    assert not writer._thread.is_alive()
    os.close(write_end)


def test_a_line_without_measure_is_cut():
    """No line is longer than the bound, and each ends with a newline."""
    read_end, write_end = os.pipe()
    writer = LineWriter(write_end)
    writer.write(b"y" * 100_000 + b"\n")
    writer.close()
    os.close(write_end)
    data = b""
    while part := os.read(read_end, 65536):
        data += part
    os.close(read_end)
    assert module.MAX_LINE_BYTES == len(data)
    assert data.endswith(b"y\n")


def test_a_descriptor_made_non_blocking_by_somebody_is_waited_for():
    """Another process may set O_NONBLOCK on the shared description: no line is lost by that."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    writer = LineWriter(write_end)
    for _ in range(100):
        writer.write(b"z" * 2047 + b"\n")
    received = 0
    while received < 100 * 2048:
        received += len(os.read(read_end, 65536))
    writer.close()
    os.close(write_end)
    os.close(read_end)
    assert 100 * 2048 == received
