"""What every agent of a run is told, from the experiment, its model and the inventory; pure."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.layout import lay_out
from slicebed.spec.models import Images
from slicebed.spec.pipeline import Drop, StageKind
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.run.layout import HostStages, Stage
    from slicebed.run.pictures import Transform
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.cuts import Cut
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.spec.pipeline import Placement, StageQueue
    from slicebed.testbed.inventory import InventoryHost

DATA_PORT = 7071
# Of a queue that neither `queues` nor `stages` speaks of: one frame under way to the stage, one that waits.
DEFAULT_PLACES = 2
# How many of the likeliest classes a classifier's sample keeps.
TOP_CLASSES = 5
IMAGES = MappingProxyType(
    {
        Images.DIGITS: agent_pb2.IMAGES_DIGITS,
        Images.RANDOM: agent_pb2.IMAGES_RANDOM,
        Images.VIDEO: agent_pb2.IMAGES_VIDEO,
        Images.FOLDER: agent_pb2.IMAGES_FOLDER,
        Images.SYNTHETIC: agent_pb2.IMAGES_SYNTHETIC,
    }
)
_POLICIES = MappingProxyType(
    {
        Drop.NEWEST: agent_pb2.QUEUE_POLICY_NEWEST,
        Drop.OLDEST: agent_pb2.QUEUE_POLICY_OLDEST,
        Drop.NEVER: agent_pb2.QUEUE_POLICY_BLOCK,
    }
)


@dataclass(frozen=True)
class Job:
    """One run as its agents are to be told.

    Attributes:
        run_id: its name on the hosts.
        experiment: source, queues, codec.
        configuration: what the hosts and links are like.
        placement: which stage is where.
        cut: of the model, one of the placement's.
        frames: to capture; 0: until the run is finished.
        model: the experiment's, looked up.
        hosts: the inventory's, at least those of the placement.
        version: of the cut; not 0 when an agent joins a run whose cut was changed.
    """

    run_id: str
    experiment: Experiment
    configuration: Configuration
    placement: Placement
    cut: Cut
    frames: int
    model: SlicedModel
    hosts: Mapping[str, InventoryHost]
    version: int = 0

    @property
    def layout(self) -> tuple[HostStages, ...]:
        """Its hosts, first to last, with their stages."""
        return lay_out(self.placement, self.experiment.chain[0], self.model.heads_of(self.cut))

    @property
    def chain(self) -> tuple[str, ...]:
        """Its hosts, first to last."""
        return self.placement.chain(self.experiment.chain[0])


def configs(job: Job) -> tuple[tuple[str, agent_pb2.RunConfig], ...]:
    """What every host of a run is to be told, first to last.

    Raises:
        SpecError: the inventory lacks a link that the placement needs.
    """
    layout = job.layout
    return tuple((each.host, _config(job, layout, index)) for index, each in enumerate(layout))


def cut_configs(job: Job, cut: Cut, version: int) -> dict[str, agent_pb2.CutConfig]:
    """What every host with slices is to be told so that a run's frames may go through another cut.

    Args:
        job: the run that goes on.
        cut: the other cut, looked up in ``job.model``.
        version: its number, above that of any before.

    Raises:
        SpecError: the other cut has another number of slices, or its early exits are not those of the run.
    """
    slices = job.model.slices(cut)
    if len(slices) != len(job.placement.slices):
        what = f"cut {cut.label} makes {len(slices)} slices, the run has {len(job.placement.slices)}"
        raise SpecError(what, where=cut.place, mend=f"name {len(job.placement.slices) - 1} split points")
    if job.model.heads_of(cut) != job.model.heads_of(job.cut):
        what = f"the early exits of cut {job.cut.label} do not fit cut {cut.label}"
        raise SpecError(what, where=cut.place, mend="keep the split points that exits follow")
    found = {}
    for each in job.layout:
        own = {stage.name: slice_config(job.model, cut, stage.tier) for stage in each.stages if _is_slice(stage)}
        if own:
            found[each.host] = agent_pb2.CutConfig(run_id=job.run_id, version=version, slices=own)
    return found


def slice_config(model: SlicedModel, cut: Cut, tier: int | None) -> agent_pb2.SliceConfig:
    """A slice of a cut, counted from 0; None is the first."""
    feeds, fetches = model.slices(cut)[tier or 0]
    return agent_pb2.SliceConfig(model_sha256=model.sha256, feeds=feeds, fetches=fetches)


def _is_slice(stage: Stage) -> bool:
    return stage.kind is StageKind.SLICE


def _config(job: Job, layout: tuple[HostStages, ...], index: int) -> agent_pb2.RunConfig:
    experiment, here = job.experiment, layout[index]
    config = agent_pb2.RunConfig(
        run_id=job.run_id,
        host=here.host,
        previous_host=layout[index - 1].host if index else "",
        stages=[
            _stage_config(job, here.host, stage, queue_before(experiment, stage, first=place == 0, camera=index == 0))
            for place, stage in enumerate(here.stages)
        ],
        warm_batch=experiment.source.batch_size,
        reconnect_s=experiment.pipeline.reconnect_us / 1e6,
        version=job.version,
    )
    if index + 1 < len(layout):
        config.link.CopyFrom(_link_config(job, here, layout[index + 1].host))
    if index == 0:
        config.source.CopyFrom(source_config(job.experiment, job.model, job.frames))
    return config


def _stage_config(job: Job, host: str, stage: Stage, queue: agent_pb2.QueueConfig) -> agent_pb2.StageConfig:
    config = agent_pb2.StageConfig(name=stage.name, queue=queue)
    if stage.kind is StageKind.TRANSFORMER:
        config.transform.CopyFrom(_transform_config(job.model.transform))
    elif stage.kind is StageKind.SLICE:
        config.slice.CopyFrom(slice_config(job.model, job.cut, stage.tier))
        # The paper's sleep stands for a slice's slower processor; pictures and labels were no part of it.
        config.overhead_ratio = job.configuration.hosts[host].overhead_ratio
    elif stage.head is not None:
        head = stage.head
        config.exit.head.CopyFrom(
            agent_pb2.SliceConfig(model_sha256=head.file.sha256, feeds=head.feeds, fetches=head.fetches)
        )
        config.exit.threshold = head.exit.threshold
    else:
        config.classify.top = TOP_CLASSES
    return config


def queue_before(experiment: Experiment, stage: Stage, *, first: bool, camera: bool) -> agent_pb2.QueueConfig:
    """The queue before a stage; ``first`` of its host, which has the ``camera`` or is behind a link."""
    if first and camera:
        return _camera_queue(experiment)
    asked = experiment.pipeline.queues.get(stage.kind)
    if asked is not None:
        return _queue(asked)
    if first and experiment.queues is not None:
        return agent_pb2.QueueConfig(
            places=experiment.queues.inbound_messages, policy=agent_pb2.QUEUE_POLICY_NEWEST, messages=True
        )
    return agent_pb2.QueueConfig(places=DEFAULT_PLACES, policy=agent_pb2.QUEUE_POLICY_NEWEST)


def queue_of_sender(experiment: Experiment, *, behind_camera: bool) -> agent_pb2.QueueConfig:
    """The queue before a host's sender, which is ``behind_camera`` where that host has no stage."""
    asked = experiment.pipeline.queues.get(StageKind.OUTBOUND)
    if behind_camera:
        return _camera_queue(experiment)
    if asked is not None:
        return _queue(asked)
    places = DEFAULT_PLACES if experiment.queues is None else experiment.queues.outbound_frames
    return agent_pb2.QueueConfig(places=places, policy=agent_pb2.QUEUE_POLICY_NEWEST)


def _camera_queue(experiment: Experiment) -> agent_pb2.QueueConfig:
    source = experiment.source
    return agent_pb2.QueueConfig(places=source.queue_frames, policy=_POLICIES[source.drop])


def _queue(asked: StageQueue) -> agent_pb2.QueueConfig:
    return agent_pb2.QueueConfig(places=asked.places, policy=_POLICIES[asked.drop])


def _link_config(job: Job, here: HostStages, next_host: str) -> agent_pb2.LinkConfig:
    end = job.hosts[here.host].link_to(next_host)
    return agent_pb2.LinkConfig(
        next_host=next_host,
        next_address=f"{end.peer_address}:{DATA_PORT}",
        codec=f"CODEC_{job.experiment.pipeline.codec.name}",
        max_message_bytes=job.configuration.hosts[here.host].max_message_bytes,
        queue=queue_of_sender(job.experiment, behind_camera=not here.stages),
        rate_bit_per_s=_rate(job, here.host, next_host),
        frames_per_s=job.experiment.source.rate_per_s,
    )


def _rate(job: Job, a: str, b: str) -> int:
    """What the link is known to carry; 0 where nothing limits it, or nobody says."""
    testbed = job.configuration.asked_of(job.experiment.testbed, job.experiment.pairs)
    link = testbed.link(a, b)
    rates = [testbed.host(a).uplink_bit_per_s, None if link is None else link.direction(a).rate_bit_per_s]
    return min((rate for rate in rates if rate is not None), default=0)


def source_config(experiment: Experiment, model: SlicedModel, frames: int) -> agent_pb2.SourceConfig:
    """The experiment's camera, which captures so many frames.

    Raises:
        SpecError: its pictures fit no input of the model.
    """
    source = experiment.source
    check = agent_pb2.CheckConfig(model_sha256=model.sha256, feeds=model.feeds, answer=model.answer)
    if source.images.are_pictures:
        check.transform.CopyFrom(_transform_config(model.transform))
    return agent_pb2.SourceConfig(
        frames=frames,
        frames_per_s=source.rate_per_s,
        batch_size=source.batch_size,
        seed=source.seed,
        images=IMAGES[source.images],
        file_sha256="" if model.pictures is None else model.pictures.sha256,
        height=source.height,
        width=source.width,
        loops=source.loops,
        check=check,
    )


def _transform_config(transform: Transform | None) -> agent_pb2.TransformConfig:
    if transform is None:
        raise SpecError("the camera's pictures fit no input of the model", where="source", mend="see images: there")
    return agent_pb2.TransformConfig(
        height=transform.height,
        width=transform.width,
        scale=transform.scale,
        offset=transform.offset,
        bgr=transform.bgr,
    )
