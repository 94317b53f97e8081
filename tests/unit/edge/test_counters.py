"""What a worker counts of its requests."""

from __future__ import annotations

from proxy.edge.counters import BOUNDS, KNOWN_CODES, RequestCounters


def test_requests_of_one_kind_share_a_cell():
    """A cell is a route, scheme, decision and code; bytes are counted over all of them."""
    counters = RequestCounters([])
    for _ in range(3):
        counters.request(("forward", "r", "web", None), 0.02, 1, 10)
    counters.request(("deny", "r", "", "role_missing"), 0.02, 2, 20)
    assert [3, 1] == [cell.count for cell in counters.cells.values()]
    assert (5, 50) == (counters.bytes_in, counters.bytes_out)


def test_a_duration_falls_into_the_first_bucket_that_holds_it():
    """A bound belongs to its bucket, as Prometheus' `le` says; what is longer than all is kept too."""
    counters = RequestCounters([])
    for seconds in (0.0, BOUNDS[0], 0.006, BOUNDS[-1], 11.0):
        counters.request(("forward", "r", "", None), seconds)
    (cell,) = counters.cells.values()
    assert [2, 1, *[0] * 8, 1, 1] == cell.durations.buckets
    assert sum((0.0, BOUNDS[0], 0.006, BOUNDS[-1], 11.0)) == cell.durations.total_s


def test_a_request_without_a_length_is_counted_all_the_same():
    """A tunnel or an event stream is a decision, and in no bucket."""
    counters = RequestCounters([])
    counters.request(("forward", "r", "", None), None)
    (cell,) = counters.cells.values()
    assert (1, 0) == (cell.count, sum(cell.durations.buckets))


def test_s15_a_code_without_a_row_makes_no_label():
    """S15: whatever a code may be, the labels come from the table."""
    counters = RequestCounters([])
    for number in range(100):
        counters.request(("deny", "r", "", f"code-{number}"), 0.0)
    assert [("deny", "r", "", "internal_error")] == list(counters.cells)
    assert {"internal_error", "client_left", "session_unknown"} <= KNOWN_CODES


def test_an_upstream_answers_fails_or_breaks_off():
    """An answer has a class and a duration, a failure a code; what breaks off has both."""
    counters = RequestCounters(["app"])
    counters.upstream("app", 101, None, 0.001)
    counters.upstream("app", 204, "client_left", 0.001)
    counters.upstream("app", 0, "upstream_timeout", None)
    counters.upstream("app", 503, "upstream_invalid", 0.001)
    app = counters.upstreams["app"]
    assert [1, 1, 0, 0, 1] == app.statuses
    assert {"upstream_timeout": 1, "upstream_invalid": 1} == {
        c: n for c, n in app.errors.items() if n
    }
    assert 3 == sum(app.durations.buckets)
