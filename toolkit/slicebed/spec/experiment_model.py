"""The keys of experiment.yml as pydantic sees them: type, unit and range of each value by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from slicebed.spec.models import Images
from slicebed.spec.pipeline_model import (
    CodecName,
    CutValue,
    ExitModel,
    PicturesModel,
    PixelsModel,
    PlacementModel,
    StagesModel,
)
from slicebed.spec.schema import (
    Boolean,
    FileName,
    HostName,
    StrictModel,
    Title,
    duration_us,
    frames_per_s,
    number,
    one_of,
    refuse,
    size_bytes,
    told,
    whole,
)
from slicebed_agent.pipeline.codecs import Codec

MAX_FRAMES = 1_000_000
MAX_SEED = 2**63 - 1
# A frame of so many pictures fills the memory of any host before it is sent.
MAX_BATCH = 4096
# Of the camera, both included.
FRAME_RATES = ("0.001 frame/s", "1000 frame/s")
_MAX_SIDE = 65_536


def _model(value: object) -> object:
    """A model's name alone stands for a mapping of it."""
    return value if isinstance(value, dict) else {"name": model_name(value)}


def model_name(value: object) -> str:
    """A name of the zoo or a path, as far as one value tells."""
    if not isinstance(value, str) or not value or "\0" in value:
        refuse(f"unknown model {told(value)}", "a name of the zoo, such as cnn14, or a path relative to this file")
    return value


def _tensor_name(value: object) -> str:
    if not isinstance(value, str) or not value:
        refuse(f"{told(value)} is not a name", "the name of an operator or tensor of the model")
    return value


def _names(value: object) -> object:
    """A name alone stands for a list of it."""
    return value if isinstance(value, list) else [_tensor_name(value)]


def _each_once(names: list[str]) -> list[str]:
    allowed = "every input of the model, each once"
    if not names:
        refuse("an empty list", allowed)
    for name in names:
        if names.count(name) > 1:
            refuse(f'"{name}" is given twice', allowed)
    return names


TensorName = Annotated[str, PlainValidator(_tensor_name)]
TensorNames = Annotated[list[TensorName], BeforeValidator(_names), AfterValidator(_each_once)]


class ModelModel(StrictModel):
    """Which model, with the settings that ``slicebed model`` takes as options."""

    name: Annotated[str, PlainValidator(model_name)]
    weights: FileName | None = None
    seed: Annotated[int, whole(0, MAX_SEED)] | None = None
    input_shape: list[Annotated[int, whole(1, _MAX_SIDE)]] | None = None
    input: TensorNames | None = None
    output: TensorName | None = None


class SourceModel(PicturesModel):
    """The camera."""

    rate: Annotated[float, frames_per_s(*FRAME_RATES)]
    batch_size: Annotated[int, whole(1, MAX_BATCH)]
    seed: Annotated[int, whole(0, MAX_SEED)]
    queue: Annotated[int, whole(1, 65536)]
    images: Annotated[Images, one_of(Images)] | None = None


class QueuesModel(StrictModel):
    """Places in every agent's queues."""

    inbound: Annotated[int, whole(1, 65536)]
    outbound: Annotated[int, whole(1, 65536)]


class OrderModel(StrictModel):
    """Whether and how the runs are shuffled."""

    randomised: Boolean
    seed: Annotated[int, whole(0, MAX_SEED)]


class HostConditionModel(StrictModel):
    """One host in one configuration."""

    overhead_ratio: Annotated[float, number(0, 1000)]
    latency: Annotated[int, duration_us("0 s", "10 s")]
    max_throughput: Annotated[int, size_bytes("1 kB", "16 MiB")]


class ConfigurationModel(StrictModel):
    """One condition of the whole chain."""

    name: Title
    hosts: dict[HostName, HostConditionModel]


class ExperimentModel(StrictModel):
    """The whole file."""

    name: Title
    testbed: FileName
    model: Annotated[ModelModel, BeforeValidator(_model)]
    chain: list[HostName]
    frames: Annotated[int, whole(1, MAX_FRAMES)]
    source: SourceModel
    queues: QueuesModel | None = None
    stages: StagesModel | None = None
    codec: CodecName = Codec.TENSOR_PROTO
    reconnect: Annotated[int, duration_us("0 s", "3600 s")] = 0
    pixels: PixelsModel | None = None
    repeats: Annotated[int, whole(1, 1000)]
    order: OrderModel
    cuts: list[CutValue] | None = None
    placements: list[PlacementModel] | None = None
    exits: list[ExitModel] | None = None
    configurations: list[ConfigurationModel] | None = None
