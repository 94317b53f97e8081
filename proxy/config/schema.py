"""The JSON Schema of the configuration file, by which editors complete and check it."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any, Final

from pydantic import PlainValidator
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined
from pydantic_core.core_schema import WithDefaultSchema

from proxy.config.attribute_docs import attribute_docs
from proxy.config.models import Config
from proxy.config.outline import fields_of, sections
from proxy.config.scheme_models import TokenSource
from proxy.config.strict import Section
from proxy.config.values import NoneWord, parse_duration, parse_duration_or_zero, parse_size

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
"""An editor shows the text alone: where it leads is said from docs/."""

_DURATIONS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SIZES: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def json_schema() -> dict[str, Any]:
    """Return the schema, in draft 2020-12."""
    schema = Config.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = schema["$defs"]
    for section in sections():
        place = schema if section is Config else definitions[section.__name__]
        docs = {_key(section, name): text for name, text in attribute_docs(section).items()}
        for key, field in fields_of(section).items():
            _finish(place["properties"][key], field, docs.get(key))
    return {"$schema": DIALECT, **schema, "title": "Latchgate configuration"}


def default_of(field: FieldInfo) -> Any:
    """Return the default of a key as the file would say it.

    `None` where there is none, or where it comes from another key.
    """
    value = field.get_default()
    if value is PydanticUndefined or isinstance(value, Section) or value in ("", {}):
        return None
    if value is None:
        return "none" if any(isinstance(item, NoneWord) for item in _metadata(field)) else None
    return _shown(value, set(_parsers(field)))


class _Generator(GenerateJsonSchema):
    """Leaves defaults out; pydantic would say them as the program holds them."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        """Describe the value alone."""
        return self.generate_inner(schema["schema"])


def _key(section: type[Section], attribute: str) -> str:
    field = section.model_fields.get(attribute)
    return (field and field.alias) or attribute


def _finish(schema: dict[str, Any], field: FieldInfo, description: str | None) -> None:
    """Say what the key is for, its default as the file does, and that a value is never null."""
    if description is not None:
        schema.setdefault("description", _LINK.sub(r"\1", " ".join(description.split())))
    schema.pop("title", None)
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema.update({**choices[0], **schema})
    elif choices:
        schema["anyOf"] = choices
    if "patternProperties" in schema:
        schema["additionalProperties"] = False
    if (default := default_of(field)) is not None:
        schema["default"] = default


def _shown(value: Any, parsers: set[Any]) -> Any:
    if isinstance(value, list):
        return [_shown(item, parsers) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and parsers & {parse_duration, parse_duration_or_zero}:
        return _duration(value)
    if isinstance(value, int) and parse_size in parsers:
        return next(f"{value // unit}{name}" for unit, name in _SIZES if value % unit == 0)
    if isinstance(value, TokenSource):
        return value.kind
    return value if isinstance(value, int | str) else str(value)


def _duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it has two: 60s, 24h, 30d."""
    for unit, name in _DURATIONS:
        count = seconds / unit
        if count.is_integer() and (count > 1 or unit == 1):
            return f"{int(count)}{name}"
    return f"{seconds * 1_000:g}ms"


def _parsers(field: FieldInfo) -> Iterator[Any]:
    for item in _metadata(field):
        if isinstance(item, PlainValidator):
            yield item.func


def _metadata(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    yield from _nested(field.annotation)


def _nested(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in typing.get_args(annotation):
        yield from _nested(argument)
