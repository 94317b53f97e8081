"""Scalars of the configuration file: words, numbers, durations, sizes, paths.

Each parser takes what the YAML file says and returns the value that the program uses, or raises
`ValueError` with a sentence for the file's author. No sentence repeats the value: it could be a
secret that was put into the wrong place, or come from the environment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from pydantic_core.core_schema import ValidationInfo

NO_FILE: Final = "there is no such file; a relative path begins where the configuration is"
"""Said of every file that a configuration names: the path itself is not repeated, for it may be a secret."""
BASE: Final = "base"
"""Key of the validation context: the directory that relative paths start from."""

VARIABLE: Final = r"\$\{"
"""Every text that holds a variable is admitted by the JSON Schema; the loader looks at its value."""

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SIZE: Final = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB)")
_SIZE_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MAX_DURATION_S: Final = 100 * 366 * 86_400.0
"""A century; more is a slip of the pen, and would overflow timers and store lifetimes."""
_MAX_SIZE: Final = 2**50
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")


class Expanded(str):
    """A text in which the environment has replaced `${VAR}`; it may stand for a number or boolean."""

    __slots__ = ()


def parse_text(value: object) -> str:
    """Return a text that is not empty and has no control characters."""
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes" if _is_scalar(value) else "must be text")
    if not value:
        raise ValueError("must not be empty")
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return str(value)


def parse_flag(value: object) -> bool:
    """Return a boolean; of texts only the environment's `true` and `false` count."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Expanded) and value in {"true", "false"}:
        return value == "true"
    if isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"}:
        raise ValueError("must be true or false (yes, no, on and off are plain words in YAML 1.2)")
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        raise ValueError("must be true or false, without quotes")
    raise ValueError("must be true or false")


def parse_count(value: object, *, least: int = 1, most: int = 2**31 - 1) -> int:
    """Return a whole number between `least` and `most`; booleans are none."""
    if isinstance(value, Expanded) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        raise ValueError("must be a whole number, without quotes")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    if not least <= value <= most:
        raise ValueError(f"must be between {least} and {most}")
    return value


def parse_duration(value: object, info: ValidationInfo | None) -> float:
    """Return seconds; `500ms`, `30s`, `15m`, `12h`, `7d`. Code, unlike a file, may give seconds."""
    if _is_by_hand(info) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a duration with its unit, such as 500ms, 30s, 15m, 12h or 7d")
    seconds = float(match[1]) * _DURATION_UNITS[match[2]]
    if not 0 < seconds <= _MAX_DURATION_S or not math.isfinite(seconds):
        raise ValueError("must be longer than nothing and shorter than a century")
    return seconds


def parse_duration_or_zero(value: object, info: ValidationInfo | None) -> float:
    """Return seconds as `parse_duration` does; `0s` is one too."""
    if isinstance(value, str) and re.fullmatch(r"0(\.0+)?(ms|s|m|h|d)", value):
        return 0.0
    return parse_duration(value, info)


def parse_size(value: object, info: ValidationInfo | None) -> int:
    """Return bytes; `512B`, `64KiB`, `10MiB`, `1GiB`. Code, unlike a file, may give bytes."""
    if _is_by_hand(info) and isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a size with its unit, such as 512B, 64KiB, 10MiB or 1GiB")
    size = int(match[1]) * _SIZE_UNITS[match[2]]
    if not 0 < size <= _MAX_SIZE:
        raise ValueError("must be more than nothing and at most 1024TiB")
    return size


def parse_path(value: object, info: ValidationInfo | None) -> Path:
    """Return a path; a relative one starts at the configuration file's directory."""
    if isinstance(value, Path):
        return value
    return base_of(info) / parse_text(value)


def base_of(info: ValidationInfo | None) -> Path:
    """Return the directory of the configuration file that is being read."""
    context = info.context if info is not None else None
    base = context.get(BASE) if isinstance(context, dict) else None
    return base if isinstance(base, Path) else Path()


def one_or_many(value: object) -> object:
    """Let a single item stand for a list of one."""
    return value if isinstance(value, list) else [value]


def unique(items: list[Any]) -> list[Any]:
    """Return `items`, in which none may stand twice."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise ValueError(f"item {index + 1} repeats an earlier one")
    return items


def not_empty(items: list[Any]) -> list[Any]:
    """Return `items`, of which there must be one at least."""
    if not items:
        raise ValueError("must not be empty")
    return items


def matching(pattern: str, sentence: str) -> Callable[[object], str]:
    """Return a parser for texts that match `pattern` as a whole; else `sentence` is the error."""
    compiled = re.compile(pattern)

    def parse(value: object) -> str:
        if _is_scalar(value) and compiled.fullmatch(str(value)) is None:
            raise ValueError(sentence)  # quotes alone, which `parse_text` advises, would not do
        text = parse_text(value)
        if compiled.fullmatch(text) is None:
            raise ValueError(sentence)
        return text

    return parse


class NoneWord:
    """Marks an optional value that is switched off by the word `none`."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Read `none` as `None` before the type itself looks."""
        return core_schema.no_info_before_validator_function(_none_word, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say `none` where pydantic says null."""
        found = handler(schema)
        for choice in found.get("anyOf", []):
            if choice == {"type": "null"}:
                choice.clear()
                choice["const"] = "none"
        return found


def _none_word(value: object) -> object:
    return None if value == "none" else value


def _is_by_hand(info: ValidationInfo | None) -> bool:
    return info is None or info.context is None


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float | bool)


def _text_schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": f"{pattern}|{VARIABLE}", "examples": [example]}
    )


Text = Annotated[
    str, PlainValidator(parse_text), WithJsonSchema({"type": "string", "minLength": 1})
]
Flag = Annotated[
    bool,
    PlainValidator(parse_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": VARIABLE}]}),
]
Count = Annotated[
    int,
    PlainValidator(parse_count),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": VARIABLE}]}
    ),
]
Duration = Annotated[
    float,
    PlainValidator(parse_duration),
    _text_schema(r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$", "30s"),
]
DurationOrZero = Annotated[
    float,
    PlainValidator(parse_duration_or_zero),
    _text_schema(r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$", "0s"),
]
Size = Annotated[
    int, PlainValidator(parse_size), _text_schema(r"^[0-9]+(B|KiB|MiB|GiB|TiB)$", "64KiB")
]
FilePath = Annotated[
    Path, PlainValidator(parse_path), WithJsonSchema({"type": "string", "minLength": 1})
]
Name = Annotated[
    str,
    PlainValidator(
        matching(
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
            "must be a name: at most 64 letters, digits, '_', '.' or '-', not starting with a sign",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}),
]
Token = Annotated[
    str,
    PlainValidator(
        matching(
            r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}",
            "must be one word of letters, digits and signs, as RFC 9110 allows in a name",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"}),
]
