"""Configurations whose wrong values are one plain line, and whose `help` lists their fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from dendrotwin.errors import InputError

# What to do about a value, by the type of pydantic's error; in braces what that error says of the limit.
FIXES = {
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "int_parsing_size": "give a smaller whole number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "greater_than": "give a number above {gt}",
    "greater_than_equal": "give at least {ge}",
    "less_than": "give a number below {lt}",
    "less_than_equal": "give at most {le}",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "union_tag_invalid": "choose {expected_tags}",
    "model_attributes_type": "give an instance of its class",
    "string_type": "give a text",
    "tuple_type": "give numbers with commas between, such as 64,64",
    "list_type": "give numbers with commas between, such as 64,64",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "dict_type": "give names with their values, such as {{'channels': 64}}",
}


def said_plainly(error: ValidationError, of: type[BaseModel]) -> tuple[str, str]:
    """What is wrong with a configuration, in words of the field.

    Args:
        error: pydantic's, of which the first counts.
        of: the class of the configuration.

    Returns:
        The name of the field, and what to do.
    """
    first = error.errors()[0]
    kind, limits = first["type"], first.get("ctx", {})
    name = ".".join(str(part) for part in first["loc"]) or of.__name__
    if kind == "extra_forbidden":
        return name, f"there is none; choose among {', '.join(of.model_fields)}"
    if kind == "missing":
        return name, "it is missing, give it"
    if kind == "value_error":
        return name, str(limits["error"])
    if kind == "literal_error":
        return name, f"choose {limits['expected']}".replace("'", "")
    return name, FIXES[kind].format(**limits) if kind in FIXES else first["msg"].lower()


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


class Options(BaseModel):
    """A configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        """Set fields by their names; `help` of the class lists them.

        Args:
            values: of the fields.

        Raises:
            InputError: a value is wrong, or there is no such field.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            name, what = said_plainly(error, type(self))
            first = error.errors()[0]
            inner = first.get("ctx", {}).get("error")
            if isinstance(inner, InputError):  # of a configuration in this one
                raise inner from error
            given = "" if first["type"] == "missing" else f" = {first['input']!s:.60}"
            raise InputError(f"{name}{given}: {what}") from error

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """List the fields, with their defaults, in the docstring."""
        lines = [
            f"    {name}: {' '.join((field.description or '').split())}"
            + ("" if field.is_required() or field.default is None else f" Default: {_default(field)!r}.")
            for name, field in cls.model_fields.items()
        ]
        cls.__doc__ = "\n".join([(cls.__doc__ or "").rstrip(), "", "Attributes:", *lines])
