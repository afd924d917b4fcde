"""The keys of experiment.yml as pydantic sees them: type, unit and range of each value by itself."""

from __future__ import annotations

from typing import Annotated

from slicebed.spec.choice_model import MAX_SEED, ChoiceValue
from slicebed.spec.models import Images
from slicebed.spec.pipeline_model import (
    CodecName,
    CutsValue,
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
    size_bytes,
    whole,
)
from slicebed.spec.search_model import SearchModel  # noqa: TC001 - pydantic reads it
from slicebed_agent.pipeline.codecs import Codec

MAX_FRAMES = 1_000_000
EQUALITY_BAR = 1e-5
"""Largest difference of an output that other kernels may make, without `tolerance`; a label may never differ."""
# A frame of so many pictures fills the memory of any host before it is sent.
MAX_BATCH = 4096
# Of the camera, both included.
FRAME_RATES = ("0.001 frame/s", "1000 frame/s")


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
    model: ChoiceValue
    chain: list[HostName]
    frames: Annotated[int, whole(1, MAX_FRAMES)]
    source: SourceModel
    queues: QueuesModel | None = None
    stages: StagesModel | None = None
    codec: CodecName = Codec.TENSOR_PROTO
    reconnect: Annotated[int, duration_us("0 s", "3600 s")] = 0
    pixels: PixelsModel | None = None
    tolerance: Annotated[float, number(0, 0.01)] = EQUALITY_BAR
    repeats: Annotated[int, whole(1, 1000)]
    order: OrderModel
    cuts: CutsValue | None = None
    placements: list[PlacementModel] | None = None
    exits: list[ExitModel] | None = None
    configurations: list[ConfigurationModel] | None = None
    search: SearchModel | None = None
