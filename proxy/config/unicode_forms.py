"""Unicode's normal forms, in a time that nobody can make long (UAX #15).

Marks behind one letter are put into their order by exchanging neighbours, which takes the square of
their number: 64 KiB of nothing but marks took seconds. No word of any language has thirty of them
(UAX #15 §13, Stream-Safe Text); what has more is no word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, Literal

LONGEST_RUN: Final = 30
"""Marks that may stand behind one letter."""

_MAY_BE_LONG: Final = re.compile(rf"[^\x00-\u02ff]{{{LONGEST_RUN + 1}}}")
"""There is no mark before U+0300."""


def normalized(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return `text` in a normal form; one with more marks in a row than a letter may have as it is."""
    if _MAY_BE_LONG.search(text) and _has_long_run(text):
        return text
    return unicodedata.normalize(form, text)


def _has_long_run(text: str) -> bool:
    run = 0
    for letter in text:
        run = run + 1 if _is_mark(letter) else 0
        if run > LONGEST_RUN:
            return True
    return False


@lru_cache(maxsize=4096)
def _is_mark(letter: str) -> bool:
    """Tell whether a letter is a mark once it is taken apart; a few have no order of their own."""
    return unicodedata.combining(unicodedata.normalize("NFKD", letter)[0]) != 0
