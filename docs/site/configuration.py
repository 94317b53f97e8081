"""Writes the tables of docs/configuration.md from the models: `make reference`.

What stands between the tables is written by hand, and so is the second column, what a key takes: it says
more than the schema of the key does ("path" for a text), which a test holds it to.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pydantic.fields import FieldInfo

from proxy.config.attribute_docs import attribute_docs
from proxy.config.models import Config
from proxy.config.outline import fields_of, nested
from proxy.config.schema import default_of
from proxy.config.strict import Section

PAGE = Path(__file__).parents[1] / "configuration.md"
ROW = re.compile(r"\| `(?P<path>[a-z_*.\[\]]+)` \| (?P<takes>.*?) \| .*? \| .* \|")
CELL = re.compile(r"(?<!\\)\|")
NONE = "\u2013"


def described(
    section: type[Section] = Config, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo, str]]:
    """Yield every key below `section` with its field, and what the model says of it."""
    docs = attribute_docs(section)
    names = {id(field): name for name, field in section.model_fields.items()}
    for key, field in fields_of(section).items():
        path = f"{prefix}.{key}" if prefix else key
        yield path, field, " ".join(docs.get(names[id(field)], "").split())
        for suffix, inner in nested(field.annotation):
            yield from described(inner, path + suffix)


def rows(page: str) -> list[list[str]]:
    """Return the cells of each row of the page that is about a key."""
    return [
        [cell.strip() for cell in CELL.split(line)[1:-1]]
        for line in page.splitlines()
        if ROW.fullmatch(line)
    ]


def filled(page: str) -> str:
    """Return the page with each row as the models have it.

    Raises `ValueError` where the rows are not those of the models, in their order: whoever adds a key
    says where it stands, and what it takes.
    """
    made = [one for one in described() if re.search(r"[.\[]", one[0])]
    found = [row[0].strip("`") for row in rows(page)]
    wanted = [path for path, _, _ in made]
    if found != wanted:
        at = next(
            (at for at, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]),
            min(len(found), len(wanted)),
        )
        raise ValueError(
            f"row {at + 1} is of {found[at : at + 1]}, the model has {wanted[at : at + 1]}"
        )
    left = iter(made)
    return "\n".join(
        _row(line, *next(left)) if ROW.fullmatch(line) else line for line in page.split("\n")
    )


def _row(line: str, path: str, field: FieldInfo, meaning: str) -> str:
    takes = CELL.split(line)[2].strip()
    default = "required" if field.is_required() else written(default_of(field))
    return f"| `{path}` | {takes} | {default} | {meaning.replace('|', chr(92) + '|')} |"


def written(value: Any) -> str:
    """Return a default as the page shows it."""
    if value is None:
        return NONE
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
