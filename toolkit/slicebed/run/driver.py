"""Drives one run: configures the agents, starts the camera, watches every agent, and collects what they wrote."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from slicebed.errors import ProvisionError, RunError
from slicebed.spec.cuts import digest
from slicebed.spec.models import Images
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.connection import HostConnection
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.order import PlannedRun

_DATA_PORT = 7071
_POLL_S = 0.25
# An agent that does not answer for this long is taken for dead; the bar is to say so within ten seconds.
_SILENCE_S = 4.0
_RPC_TIMEOUT_S = 2.0
# Of the largest models on a slow host, whose first agent also asks the whole model for its answers. An agent that is
# gone refuses at once.
_PREPARE_TIMEOUT_S = 600.0
_FINISH_TIMEOUT_S = 60.0
# How long after the last capture no frame may end while some are under way: one slow slice, one slow hop.
_DRAIN_S = 60.0
# What the agents take as a run's name, which is a folder's name there.
_LONGEST_RUN_ID = 128
_IMAGES = {Images.DIGITS: agent_pb2.IMAGES_DIGITS, Images.RANDOM: agent_pb2.IMAGES_RANDOM}


@dataclass(frozen=True)
class RunSetting:
    """What a run needs besides its place in the plan."""

    experiment: Experiment
    connections: Mapping[str, HostConnection]
    campaign: str
    model: SlicedModel

    def agent_run_id(self, run: PlannedRun) -> str:
        """The run's name on the hosts, where campaigns share one spool."""
        name = f"{self.campaign}.{run.run_id}"
        if len(name) <= _LONGEST_RUN_ID:
            return name
        told_apart = f"-{digest(name)}"
        return name[: _LONGEST_RUN_ID - len(told_apart)] + told_apart

    def slice_of(self, run: PlannedRun, host: str) -> str:
        """A host's slice as an error line names it."""
        return self.model.stage(run.cut, self.experiment.chain.index(host))


@dataclass(frozen=True)
class Output:
    """A tensor that leaves a slice; its shape is without the batch dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """What an agent said of its slice."""

    host: str
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    weights_bytes: int
    outputs: tuple[Output, ...]
    prepare_s: float


def prepare(setting: RunSetting, run: PlannedRun) -> tuple[Prepared, ...]:
    """Tell every agent its slice, from the last to the first, so that nobody sends to an agent that is not ready.

    Raises:
        RunError: an agent is not there or refuses.
    """
    chain = setting.experiment.chain
    slices = setting.model.slices(run.cut)
    prepared = []
    for tier in reversed(range(len(chain))):
        host, (feeds, fetches) = chain[tier], slices[tier]
        config = _config(setting, run, tier, feeds, fetches)
        try:
            reply = setting.connections[host].control.Prepare(config, timeout=_PREPARE_TIMEOUT_S, wait_for_ready=False)
        except grpc.RpcError as error:
            raise _agent_error(setting, host, "prepare", error) from error
        outputs = tuple(Output(each.name, each.dtype, tuple(each.shape)) for each in reply.outputs)
        prepared.append(Prepared(host, feeds, fetches, reply.weights_bytes, outputs, reply.prepare_s))
    return tuple(reversed(prepared))


def stream(setting: RunSetting, run: PlannedRun, on_progress: Callable[[int], None]) -> agent_pb2.StatusReply:
    """Start the camera and wait until every frame has an end; give the first agent's counts.

    Raises:
        RunError: an agent died, the run failed on a host, or frames did not end in time; host and stage are named.
    """
    chain, source = setting.experiment.chain, setting.experiment.source
    request = agent_pb2.RunRequest(run_id=setting.agent_run_id(run))
    try:
        setting.connections[chain[0]].control.Start(request, timeout=_RPC_TIMEOUT_S)
    except grpc.RpcError as error:
        raise _agent_error(setting, chain[0], "source", error) from error
    round_trip_s = sum(link.rtt_us for link in run.configuration.links()) / 1e6
    captured_at = time.monotonic() + run.frames / source.rate_per_s
    last_end, ended = time.monotonic(), 0
    last_answer = dict.fromkeys(chain, time.monotonic())
    with ThreadPoolExecutor(len(chain)) as pool:
        while True:
            asked = {host: pool.submit(_status, setting, host, request) for host in chain}
            for host, answer in asked.items():
                status = answer.result()
                if isinstance(status, grpc.RpcError):
                    if time.monotonic() - last_answer[host] > _SILENCE_S:
                        raise _agent_error(setting, host, setting.slice_of(run, host), status)
                    continue
                last_answer[host] = time.monotonic()
                if status.phase == agent_pb2.RUN_PHASE_FAILED:
                    raise _blame(setting, run, host, status)
                if host == chain[0]:
                    before, ended = ended, status.completed + status.dropped + status.failed
                    last_end = last_end if ended == before else time.monotonic()
                    on_progress(ended)
                    if status.phase == agent_pb2.RUN_PHASE_DONE:
                        return status
            if time.monotonic() > max(captured_at, last_end) + _DRAIN_S + 10 * round_trip_s:
                raise RunError(
                    f"{run.frames - ended} frames without an end {_DRAIN_S:.0f} s after the last end or capture",
                    where=f"run {run.run_id}",
                )
            time.sleep(_POLL_S)


def finish(setting: RunSetting, run: PlannedRun) -> None:
    """End the run on every agent, first to last; each flushes its samples to its disk.

    Raises:
        RunError: an agent did not.
    """
    for host in setting.experiment.chain:
        request = agent_pb2.RunRequest(run_id=setting.agent_run_id(run))
        try:
            setting.connections[host].control.Finish(request, timeout=_FINISH_TIMEOUT_S)
        except grpc.RpcError as error:
            raise _agent_error(setting, host, "finish", error) from error


def abandon(setting: RunSetting, run: PlannedRun) -> None:
    """End a failed or interrupted run where agents still answer, without waiting for those that do not."""
    for host in setting.experiment.chain:
        request = agent_pb2.RunRequest(run_id=setting.agent_run_id(run))
        try:
            setting.connections[host].control.Finish(request, timeout=_RPC_TIMEOUT_S)
        except grpc.RpcError:
            # The failure that led here is the one to report.
            continue


def collect(setting: RunSetting, run: PlannedRun, folder: Path) -> tuple[str, ...]:
    """Copy every host's samples into hosts/<host>/samples.jsonl; give the hosts that had none."""
    missing = []
    for host in setting.experiment.chain:
        destination = folder / "hosts" / host / "samples.jsonl"
        try:
            found = setting.connections[host].fetch_samples(setting.agent_run_id(run), destination)
        except ProvisionError:
            found = False
        if not found:
            missing.append(host)
    return tuple(missing)


def _config(
    setting: RunSetting, run: PlannedRun, tier: int, feeds: Sequence[str], fetches: Sequence[str]
) -> agent_pb2.RunConfig:
    experiment, chain = setting.experiment, setting.experiment.chain
    host = chain[tier]
    condition = run.configuration.hosts[host]
    config = agent_pb2.RunConfig(
        run_id=setting.agent_run_id(run),
        host=host,
        model_sha256=setting.model.sha256,
        feeds=feeds,
        fetches=fetches,
        overhead_ratio=condition.overhead_ratio,
        max_message_bytes=condition.max_message_bytes,
        inbound_messages=experiment.queues.inbound_messages,
        outbound_frames=experiment.queues.outbound_frames,
        warm_batch=experiment.source.batch_size,
    )
    if tier + 1 < len(chain):
        link = setting.connections[host].host.link_to(chain[tier + 1])
        config.next_host = chain[tier + 1]
        config.next_address = f"{link.peer_address}:{_DATA_PORT}"
    if tier == 0:
        source = experiment.source
        config.source.CopyFrom(
            agent_pb2.SourceConfig(
                frames=run.frames,
                frames_per_s=source.rate_per_s,
                batch_size=source.batch_size,
                seed=source.seed,
                queue_frames=source.queue_frames,
                images=_IMAGES[source.images],
                answer=setting.model.answer,
            )
        )
    return config


def _status(setting: RunSetting, host: str, request: agent_pb2.RunRequest) -> agent_pb2.StatusReply | grpc.RpcError:
    try:
        reply: agent_pb2.StatusReply = setting.connections[host].control.Status(request, timeout=_RPC_TIMEOUT_S)
    except grpc.RpcError as error:
        return error
    return reply


def _blame(setting: RunSetting, run: PlannedRun, host: str, status: agent_pb2.StatusReply) -> RunError:
    """Name the agent that is gone, when one is: its neighbours fail too, but only say that they lost it."""
    request = agent_pb2.RunRequest(run_id=status.run_id)
    for other in setting.experiment.chain:
        answer = _status(setting, other, request)
        if isinstance(answer, grpc.RpcError):
            return _agent_error(setting, other, setting.slice_of(run, other), answer)
    return RunError(status.error, where=f"host {host}, stage {status.error_stage}")


def _agent_error(setting: RunSetting, host: str, stage: str, error: grpc.RpcError) -> RunError:
    said = error.details() if isinstance(error, grpc.Call) else str(error)
    try:
        state = setting.connections[host].container_state()
    except ProvisionError as lost:
        state = str(lost)
    return RunError(
        f"the agent does not answer or refused ({said}); {state}",
        where=f"host {host}, stage {stage}",
        mend="see its log (slicebed gather), then run again; slicebed run starts a stopped agent",
    )
