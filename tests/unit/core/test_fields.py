from __future__ import annotations

import pytest

from proxy.core.fields import MAX_FIELDS, read_fields


def test_fields_are_decoded():
    """Plus signs and escapes are what a browser's form makes of spaces and letters."""
    assert {} == read_fields(b"", "form")
    assert {"a": "b c", "é": ""} == read_fields(b"a=b+c&%C3%A9=", "form")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"a=1&a=2", b"a=1&%61=2", b"a", b"a=1&", b"a=%ff", b"a=%00", b"a=%0b", b"\xc3\xa9=1"),
        b"&".join(b"a%d=1" % number for number in range(MAX_FIELDS + 1)),
    ],
)
def test_what_could_mean_two_things_is_refused(raw):
    """A name that occurs twice, half an escape or a control character is nobody's form."""
    with pytest.raises(ValueError, match="the query"):
        read_fields(raw, "query")
