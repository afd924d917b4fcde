"""The pydantic edge of the spec: field types with ranges, and pydantic's findings told with their place in the file."""

from __future__ import annotations

import re
import types
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from slicebed.spec import units
from slicebed.spec.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from slicebed.spec.document import Document, Location

_REFUSED = "slicebed"
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
# A cpufreq governor's name, as the kernel's scaling_available_governors lists it.
_GOVERNOR_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,15}", re.ASCII)
_TITLE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


class StrictModel(BaseModel):
    """A mapping of the file with exactly the keys of the class."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


ModelT = TypeVar("ModelT", bound=StrictModel)
EnumT = TypeVar("EnumT", bound=Enum)


def refuse(what: str, allowed: str) -> NoReturn:
    """Refuse a value inside a pydantic validator."""
    raise PydanticCustomError(_REFUSED, "{what}; {allowed}", {"what": what, "allowed": allowed})


def told(value: object) -> str:
    """A value of the file as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def _quantity(dimension: units.Dimension, low: str, high: str, scale: Fraction = Fraction(1)) -> PlainValidator:
    least, most = dimension.parse(low), dimension.parse(high)

    def validate(value: object) -> int | float:
        try:
            parsed = dimension.parse(value)
        except units.UnitError as error:
            refuse(error.what, dimension.allowed)
        if parsed < 0:
            refuse(f'negative {dimension.name} "{value}"', f"{low} to {high}")
        if not least <= parsed <= most:
            refuse(f'{dimension.name} "{value}" is out of range', f"{low} to {high}")
        return int(parsed) if dimension.whole else float(parsed * scale)

    return PlainValidator(validate)


def duration_us(low: str, high: str) -> PlainValidator:
    """A duration between two bounds, both included, in microseconds."""
    return _quantity(units.DURATION, low, high)


def size_bytes(low: str, high: str) -> PlainValidator:
    """A size between two bounds, both included, in bytes."""
    return _quantity(units.SIZE, low, high)


def rate_bit_per_s(low: str, high: str) -> PlainValidator:
    """A rate between two bounds, both included, in bits per second."""
    return _quantity(units.RATE, low, high)


def frequency_khz(low: str, high: str) -> PlainValidator:
    """A frequency between two bounds, both included, in kilohertz."""
    return _quantity(units.FREQUENCY, low, high)


def frames_per_s(low: str, high: str) -> PlainValidator:
    """A frame rate between two bounds, both included."""
    return _quantity(units.FRAME_RATE, low, high)


def share(low: str, high: str) -> PlainValidator:
    """A share between two percentages, both included, as a number from 0 to 1."""
    return _quantity(units.SHARE, low, high, Fraction(1, 100))


def energy_uj(low: str, high: str) -> PlainValidator:
    """An energy between two bounds, both included, in microjoules."""
    return _quantity(units.ENERGY, low, high)


def packets(low: str, high: str) -> PlainValidator:
    """A number of packets between two bounds, both included."""
    return _quantity(units.PACKETS, low, high)


def whole(low: int, high: int) -> PlainValidator:
    """A whole number between two bounds, both included."""
    allowed = f"a whole number from {low} to {high}"

    def validate(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            refuse(f"{told(value)} is not a whole number", allowed)
        if not low <= value <= high:
            refuse(f"{value} is out of range", allowed)
        return value

    return PlainValidator(validate)


def number(low: float, high: float) -> PlainValidator:
    """A number between two bounds, both included."""
    allowed = f"a number from {low} to {high}"

    def validate(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(f"{told(value)} is not a number", allowed)
        if not low <= Fraction(value) <= high:
            refuse(f"{value} is out of range", allowed)
        return float(value)

    return PlainValidator(validate)


def _text(pattern: re.Pattern[str], kind: str, allowed: str) -> PlainValidator:
    def validate(value: object) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not pattern.fullmatch(text):
            refuse(f"{told(value)} is not a {kind}", allowed)
        return text

    return PlainValidator(validate)


def is_title(text: str) -> bool:
    """Whether it is a `Title`."""
    return _TITLE_PATTERN.fullmatch(text) is not None


def one_of(kind: type[EnumT]) -> PlainValidator:
    """One word of a closed set."""
    words = {str(member.value): member for member in kind}

    def validate(value: object) -> EnumT:
        if not isinstance(value, str) or value not in words:
            refuse(f"{told(value)} is not known", ", ".join(words))
        return words[value]

    return PlainValidator(validate)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        refuse(f"{told(value)} is neither true nor false", "true, false")
    return value


def _file_name(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        refuse(f"{told(value)} is not a path", "a path relative to this file")
    return value


HostName = Annotated[
    str,
    _text(NAME_PATTERN, "host name", "a small letter, then small letters, digits and hyphens, at most 31 characters"),
]
Role = Annotated[
    str, _text(NAME_PATTERN, "role", "a small letter, then small letters, digits and hyphens, at most 31 characters")
]
Governor = Annotated[
    str, _text(_GOVERNOR_PATTERN, "governor", "a name such as performance, powersave, schedutil, userspace")
]
Title = Annotated[str, _text(_TITLE_PATTERN, "name", "letters, digits, underscores and hyphens, at most 63 characters")]
FileName = Annotated[str, PlainValidator(_file_name)]
Boolean = Annotated[bool, PlainValidator(_boolean)]


def validate(document: Document, model: type[ModelT]) -> tuple[ModelT | None, list[Problem]]:
    """Validate a document against its model.

    Returns:
        The validated model, or None with every mistake found; mistakes of the notation are included.
    """
    problems = list(document.problems)
    try:
        return model.model_validate(document.data), problems
    except ValidationError as error:
        found = [_problem(document, model, detail) for detail in error.errors(include_url=False)]
        # A value whose notation is refused already (a tag) would be told again by its type.
        told_already = {problem.mark for problem in problems}
        return None, problems + [problem for problem in found if problem.mark not in told_already]


def _problem(document: Document, model: type[StrictModel], detail: ErrorDetails) -> Problem:
    location: Location = tuple(detail["loc"])
    kind = detail["type"]
    ctx = detail.get("ctx", {})
    if location and location[-1] == "[key]":
        return Problem(document.key_mark(location[:-1]), ctx["what"], ctx["allowed"])
    mark = document.value_mark(location)
    if kind == _REFUSED:
        return Problem(mark, _named(location, ctx["what"]), ctx["allowed"])
    if kind == "extra_forbidden":
        return _unknown_key(document, location, sorted(_model_at(model, location[:-1]).model_fields))
    if kind == "missing":
        fields = _model_at(model, location[:-1]).model_fields
        required = ", ".join(name for name, each in fields.items() if each.is_required())
        missing = f'missing key "{location[-1]}"'
        return Problem(document.key_mark(location[:-1]), missing, f"no fewer than {required}")
    wanted = {"model_type": "a mapping", "dict_type": "a mapping", "list_type": "a list"}.get(kind, detail["msg"])
    return Problem(mark, _named(location, f"{told(detail['input'])} is not {wanted}"), wanted)


def _named(location: Location, what: str) -> str:
    """``what`` with the key it is about, unless the item of a list speaks for itself."""
    return f"{location[-1]}: {what}" if location and isinstance(location[-1], str) else what


def _unknown_key(document: Document, location: Location, allowed: list[str]) -> Problem:
    key = str(location[-1])
    return Problem(document.key_mark(location), f'unknown key "{key}"{did_you_mean(key, allowed)}', ", ".join(allowed))


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model of the mapping at ``location``, found by following the field types."""
    annotation: Any = model
    for step in location:
        inner = _bare(annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            annotation = inner.model_fields[str(step)].annotation
        else:
            annotation = get_args(inner)[-1]
    found: type[BaseModel] = _bare(annotation)
    return found


def _bare(annotation: Any) -> Any:
    """The annotation without Annotated and Optional."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return _bare(next(arm for arm in get_args(annotation) if arm is not type(None)))
    return annotation
