"""Names and values of a query or a form (WHATWG URL §5), read so that each name means one thing."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

MAX_FIELDS: Final = 64
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_fields(raw: bytes, where: str) -> dict[str, str]:
    """Return the fields of `raw`. Raises `ValueError`, which names `where` and no value."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise ValueError(f"the {where} cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a name occurs twice in the {where}")
    if any(map(_CONTROL.search, fields.values())):
        raise ValueError(f"a control character in the {where}")
    return fields
