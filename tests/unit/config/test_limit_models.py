"""How a rate is written."""

from __future__ import annotations

import pytest

from proxy.config.limit_models import RouteLimitsConfig, parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/s", (100, 1.0)),
        ("5/10m", (5, 600.0)),
        ("1000/h", (1000, 3600.0)),
        ("2/d", (2, 86400.0)),
    ],
)
def test_a_rate_is_a_number_and_a_time(text, expected):
    """Of one unit, where no other number stands there."""
    assert expected == parse_rate(RouteLimitsConfig(rate=text).rate)


def test_a_number_alone_is_told_what_it_lacks():
    """Quotes around it, which any other text without them is advised, would be the next mistake."""
    with pytest.raises(ValueError, match="must be a number and a time, such as 100/s"):
        RouteLimitsConfig.model_validate({"rate": 100})


@pytest.mark.parametrize("text", ["", "100", "/s", "0/s", "1/0s", "1/ s", "1.5/s", "-1/s"])
def test_nothing_else_is(text):
    """What could be read as no limit at all is refused."""
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)
    with pytest.raises(ValueError, match="must"):
        RouteLimitsConfig(rate=text)


def test_without_words_there_are_no_limits():
    """A rate that is written counts by subject, in each worker."""
    limits = RouteLimitsConfig()

    assert (None, None, None) == (limits.rate, limits.parallel, limits.body_size)
    assert ("subject", "worker") == (limits.per, limits.in_)
