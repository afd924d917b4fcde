"""The keys of the `search:` section of experiment.yml as pydantic sees them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from slicebed.spec.choice_model import ChoiceValue  # noqa: TC001 - pydantic reads it
from slicebed.spec.objective import METRICS
from slicebed.spec.pipeline_model import CodecName  # noqa: TC001 - pydantic reads it
from slicebed.spec.problems import did_you_mean
from slicebed.spec.schema import (
    FileName,
    StrictModel,
    Title,
    duration_us,
    energy_uj,
    frames_per_s,
    number,
    refuse,
    share,
    size_bytes,
    told,
    whole,
)
from slicebed.spec.units import UnitError, parse_amount

MAX_BUDGET = 1_000_000
_MAX_REPEATS = 1_000


def _objective(value: object) -> object:
    """A metric alone stands for a mapping of it."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str) or value not in METRICS:
        hint = did_you_mean(value, METRICS) if isinstance(value, str) else ""
        refuse(f"{told(value)} is no metric{hint}", f"{', '.join(METRICS)}, or a mapping with weights")
    return {"weights": {value: 1}}


def _methods(value: object) -> object:
    """A name alone stands for a list of it."""
    return [value] if isinstance(value, str) else value


def _option(value: object) -> float | str:
    """A number, a quantity, or a word; text that begins as a number does is meant for a quantity."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not value:
        refuse(f"{told(value)} is no option", "a number, a quantity such as 200 ms, or a word")
    if value[0] not in "+-.0123456789":
        return value
    try:
        return parse_amount(value)
    except UnitError as error:
        refuse(error.what, str(error.mend).removeprefix("allowed: "))


def _knob(value: object) -> float | str:
    if not isinstance(value, (int, float, str)) or isinstance(value, bool) or value == "":
        refuse(f"{told(value)} is no value of a knob", "a number, a quantity such as 2.4 GHz, or a word")
    return value


def _some(values: list[object]) -> list[object]:
    if not values:
        refuse("an empty list", "at least one, or no such key")
    return values


def _named(values: dict[str, object]) -> dict[str, object]:
    if not values:
        refuse("an empty mapping", "at least one, or no such key")
    return values


def _text(value: object) -> str:
    if not isinstance(value, str):
        refuse(f"{told(value)} is not a name", "text")
    return value


Some = AfterValidator(_some)
Named = AfterValidator(_named)
Text = Annotated[str, PlainValidator(_text)]
Weight = Annotated[float, number(0.001, 1000)] | None
KnobValues = Annotated[list[Annotated[float | str, PlainValidator(_knob)]], Some]
Options = Annotated[dict[Text, Annotated[float | str, PlainValidator(_option)]], Named]


class WeightsModel(StrictModel):
    """How much each metric counts."""

    latency: Weight = None
    latency_p95: Weight = None
    drop_rate: Weight = None
    throughput: Weight = None
    bytes: Weight = None
    energy: Weight = None


class AmountsModel(StrictModel):
    """An amount of each metric, above 0."""

    latency: Annotated[int, duration_us("1 us", "3600 s")] | None = None
    latency_p95: Annotated[int, duration_us("1 us", "3600 s")] | None = None
    drop_rate: Annotated[float, share("0.0001 %", "100 %")] | None = None
    throughput: Annotated[float, frames_per_s("0.001 frame/s", "1000 frame/s")] | None = None
    bytes: Annotated[int, size_bytes("1 B", "1024 GiB")] | None = None
    energy: Annotated[int, energy_uj("1 uJ", "1000000 J")] | None = None


class LimitsModel(AmountsModel):
    """The most of each metric, of throughput the least; no drop at all may be asked for."""

    drop_rate: Annotated[float, share("0 %", "100 %")] | None = None


class ObjectiveModel(StrictModel):
    """What is minimised."""

    weights: WeightsModel
    scales: AmountsModel | None = None
    limits: LimitsModel | None = None


class RepeatsModel(StrictModel):
    """How often a candidate is measured."""

    at_least: Annotated[int, whole(1, _MAX_REPEATS)] | None = None
    at_most: Annotated[int, whole(1, _MAX_REPEATS)] | None = None
    until: Annotated[float, share("0.1 %", "100 %")] | None = None


class SearchModel(StrictModel):
    """The whole section."""

    method: Annotated[list[Title], BeforeValidator(_methods), Some] | None = None
    objective: Annotated[ObjectiveModel, BeforeValidator(_objective)] | None = None
    budget: Annotated[int, whole(1, MAX_BUDGET)] | None = None
    models: Annotated[list[ChoiceValue], Some] | None = None
    testbeds: Annotated[dict[Title, FileName], Named] | None = None
    codecs: Annotated[list[CodecName], Some] | None = None
    knobs: Annotated[dict[Text, KnobValues], Named] | None = None
    repeats: RepeatsModel | None = None
    options: Annotated[dict[Title, Options], Named] | None = None
    sites: Annotated[list[FileName], Some] | None = None
