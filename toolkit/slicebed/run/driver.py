"""Drives one run: configures the agents, starts the camera, watches every agent, and collects what they wrote."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from slicebed.errors import ProvisionError, RunError
from slicebed.run.assignments import Job, configs
from slicebed.run.pictures import in_users_words
from slicebed.run.said import is_gone, reason_of, refusal_of
from slicebed.spec.cuts import digest
from slicebed.spec.pipeline import StageKind
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slicebed.run.connection import HostConnection
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.order import PlannedRun

_POLL_S = 0.25
# An agent that does not answer for this long is taken for dead; the bar is to say so within ten seconds.
SILENCE_S = 4.0
_RPC_TIMEOUT_S = 2.0
# Of the largest models on a slow host, whose first agent also asks the whole model for its answers. An agent that is
# gone refuses at once.
_PREPARE_TIMEOUT_S = 600.0
_FINISH_TIMEOUT_S = 60.0
# How long after the last capture no frame may end while some are under way: one slow slice, one slow hop.
_DRAIN_S = 60.0
# What the agents take as a run's name, which is a folder's name there.
_LONGEST_RUN_ID = 128


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

    def job(self, run: PlannedRun) -> Job:
        """The run as its agents are to be told."""
        return Job(
            run_id=self.agent_run_id(run),
            experiment=self.experiment,
            configuration=run.configuration,
            placement=run.placement,
            cut=run.cut,
            frames=run.frames,
            model=self.model,
            hosts={name: connection.host for name, connection in self.connections.items()},
        )


@dataclass(frozen=True)
class Output:
    """A tensor that leaves a slice; its shape is without the batch dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """What an agent said of a slice, or of an early exit's head."""

    host: str
    stage: str
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    weights_bytes: int
    outputs: tuple[Output, ...]
    prepare_s: float


def prepare(connections: Mapping[str, HostConnection], job: Job) -> tuple[Prepared, ...]:
    """Tell every agent its stages, from the last to the first, so that nobody sends to an agent that is not ready.

    Raises:
        RunError: an agent is not there or refuses.
        SpecError: the inventory lacks a link that the placement needs.
    """
    prepared: list[Prepared] = []
    for host, config in reversed(configs(job)):
        try:
            prepared[:0] = prepare_host(connections, host, config)
        except RunError as error:
            error.what = in_users_words(error.what, job.model.pictures)
            raise
    return tuple(prepared)


def prepare_host(
    connections: Mapping[str, HostConnection], host: str, config: agent_pb2.RunConfig
) -> tuple[Prepared, ...]:
    """Tell one agent its stages; give its slices and heads, in their order.

    Raises:
        RunError: the agent is not there or refuses.
    """
    try:
        reply = connections[host].control.Prepare(config, timeout=_PREPARE_TIMEOUT_S, wait_for_ready=False)
    except grpc.RpcError as error:
        raise agent_error(connections, host, "prepare", error) from error
    asked = {
        stage.name: stage.slice if stage.WhichOneof("kind") == "slice" else stage.exit.head for stage in config.stages
    }
    return tuple(
        Prepared(
            host,
            each.stage,
            tuple(asked[each.stage].feeds),
            tuple(asked[each.stage].fetches),
            each.weights_bytes,
            tuple(Output(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in each.outputs),
            reply.prepare_s,
        )
        for each in reply.slices
    )


def stream(
    connections: Mapping[str, HostConnection], job: Job, on_progress: Callable[[int], None]
) -> agent_pb2.StatusReply:
    """Start the camera and wait until every frame has an end; give the first agent's counts.

    Raises:
        RunError: an agent died, the run failed on a host, or frames did not end in time; host and stage are named.
    """
    chain = job.chain
    start(connections, job)
    patience_s = _DRAIN_S + 10 * _round_trips_us(job) / 1e6 + job.experiment.pipeline.reconnect_us / 1e6
    captured_at = time.monotonic() + job.frames / job.experiment.source.rate_per_s
    last_end, ended = time.monotonic(), 0
    last_answer = dict.fromkeys(chain, time.monotonic())
    with ThreadPoolExecutor(len(chain)) as pool:
        while True:
            asked = {host: pool.submit(status_of, connections, job, host) for host in chain}
            for host, answer in asked.items():
                status = answer.result()
                if isinstance(status, grpc.RpcError):
                    if time.monotonic() - last_answer[host] > SILENCE_S:
                        raise agent_error(connections, host, stages_of(job, host), status)
                    continue
                last_answer[host] = time.monotonic()
                if status.phase == agent_pb2.RUN_PHASE_FAILED:
                    raise blame(connections, job, host, status)
                if host == chain[0]:
                    before, ended = ended, status.completed + status.dropped + status.failed
                    last_end = last_end if ended == before else time.monotonic()
                    on_progress(ended)
                    if status.phase == agent_pb2.RUN_PHASE_DONE:
                        return status
            if time.monotonic() > max(captured_at, last_end) + patience_s:
                raise RunError(
                    f"{job.frames - ended} frames without an end {_DRAIN_S:.0f} s after the last end or capture",
                    where=f"run {job.run_id}",
                )
            time.sleep(_POLL_S)


def start(connections: Mapping[str, HostConnection], job: Job) -> None:
    """Start the camera.

    Raises:
        RunError: its agent is not there or refuses.
    """
    camera = job.chain[0]
    try:
        connections[camera].control.Start(agent_pb2.RunRequest(run_id=job.run_id), timeout=_RPC_TIMEOUT_S)
    except grpc.RpcError as error:
        raise agent_error(connections, camera, "source", error) from error


def stages_of(job: Job, host: str) -> str:
    """What runs on a host, as an error line names it."""
    stages = next((each.stages for each in job.layout if each.host == host), ())
    return (
        ", ".join(
            job.model.stage(job.cut, stage.tier)
            if stage.kind is StageKind.SLICE and stage.tier is not None
            else stage.name
            for stage in stages
        )
        or "source"
    )


def finish(connections: Mapping[str, HostConnection], job: Job) -> None:
    """End the run on every agent, first to last; each flushes its samples to its disk.

    Raises:
        RunError: an agent did not.
    """
    for host in job.chain:
        request = agent_pb2.RunRequest(run_id=job.run_id)
        try:
            connections[host].control.Finish(request, timeout=_FINISH_TIMEOUT_S)
        except grpc.RpcError as error:
            raise agent_error(connections, host, "finish", error) from error


def abandon(connections: Mapping[str, HostConnection], job: Job) -> None:
    """End a failed or interrupted run where agents still answer, without waiting for those that do not."""
    for host in job.chain:
        try:
            connections[host].control.Finish(agent_pb2.RunRequest(run_id=job.run_id), timeout=_RPC_TIMEOUT_S)
        except grpc.RpcError:
            # The failure that led here is the one to report.
            continue


def collect(connections: Mapping[str, HostConnection], job: Job, folder: Path) -> tuple[str, ...]:
    """Copy every host's samples into hosts/<host>/samples.jsonl; give the hosts that had none."""
    missing = []
    for host in job.chain:
        destination = folder / "hosts" / host / "samples.jsonl"
        try:
            found = connections[host].fetch_samples(job.run_id, destination)
        except ProvisionError:
            found = False
        if not found:
            missing.append(host)
    return tuple(missing)


def status_of(connections: Mapping[str, HostConnection], job: Job, host: str) -> agent_pb2.StatusReply | grpc.RpcError:
    """Ask an agent how the run stands; the error where it does not answer."""
    try:
        reply: agent_pb2.StatusReply = connections[host].control.Status(
            agent_pb2.RunRequest(run_id=job.run_id), timeout=_RPC_TIMEOUT_S
        )
    except grpc.RpcError as error:
        return error
    return reply


def blame(connections: Mapping[str, HostConnection], job: Job, host: str, status: agent_pb2.StatusReply) -> RunError:
    """Name the agent that is gone, when one is: its neighbours fail too, but only say that they lost it."""
    for other in job.chain:
        answer = status_of(connections, job, other)
        if isinstance(answer, grpc.RpcError):
            return agent_error(connections, other, stages_of(job, other), answer)
    said = in_users_words(reason_of(status), job.model.pictures)
    return RunError(said, where=f"host {status.error_host or host}, stage {status.error_stage}")


def agent_error(connections: Mapping[str, HostConnection], host: str, stage: str, error: grpc.RpcError) -> RunError:
    """An agent that does not answer or refuses, with what the engine knows of its container."""
    said, where = refusal_of(error, host), f"host {host}, stage {stage}"
    if not is_gone(error):
        return RunError(said, where=where)
    try:
        state = connections[host].container_state()
    except ProvisionError as lost:
        state = str(lost)
    return RunError(
        f"the agent does not answer ({said}); {state}",
        where=where,
        mend="see its log (slicebed gather), then run again; slicebed run starts a stopped agent",
    )


def _round_trips_us(job: Job) -> int:
    """Of all links along the run, as they are asked for."""
    testbed = job.configuration.asked_of(job.experiment.testbed, job.experiment.pairs)
    links = [testbed.link(a, b) for a, b in job.placement.pairs(job.experiment.chain[0])]
    return sum(link.asked.rtt_us for link in links if link is not None)
