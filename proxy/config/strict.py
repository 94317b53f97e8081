"""The base of every section of the configuration file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping in the file: no unknown key, no conversion, no change afterwards.

    Attributes are called as the keys are (`from` is `from_`). An attribute's docstring is its
    description in the JSON Schema (`attribute_docs`). What reads and checks a section is built when
    a file first has it: most files have few.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        defer_build=True,
    )
