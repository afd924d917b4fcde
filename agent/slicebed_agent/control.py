"""The Control service: one run at a time, prepared, started, watched and finished by the control machine."""

from __future__ import annotations

import logging
import platform
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import grpc

from slicebed_agent import __version__, config
from slicebed_agent.errors import AgentConfigError, AgentError, OneLineError, PayloadError
from slicebed_agent.model import codec, runtime
from slicebed_agent.model.files import Store
from slicebed_agent.model.held import Held
from slicebed_agent.model.reference import References
from slicebed_agent.pipeline.contracts import Bench, End, Ending, Phase, Stage
from slicebed_agent.pipeline.run import Run
from slicebed_agent.rpc import channel as channels
from slicebed_agent.rpc.v1 import agent_pb2
from slicebed_agent.transfer import ModelFiles, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slicebed_agent.config import Assignment
    from slicebed_agent.model.held import HeldSlice
    from slicebed_agent.model.reference import Agreement, Reference
    from slicebed_agent.pipeline.contracts import SourcePlan, Tensors

_LOG = logging.getLogger(__name__)
Reply = TypeVar("Reply")
_CONNECT_S: Final = 20.0
_DRAIN_S: Final = 30.0
_REPLY_S: Final = 1.0  # kept back from a call's own deadline, so that the answer still arrives
_PHASES: Final = {
    Phase.PREPARED: agent_pb2.RUN_PHASE_PREPARED,
    Phase.RUNNING: agent_pb2.RUN_PHASE_RUNNING,
    Phase.DONE: agent_pb2.RUN_PHASE_DONE,
    Phase.FAILED: agent_pb2.RUN_PHASE_FAILED,
}


class Control:
    """Implements `slicebed_agent.rpc.v1.Control`; method names are the proto's."""

    def __init__(self, host: str, state_dir: Path, model_bytes: int) -> None:
        """Remember who this agent is; it has no run yet.

        Args:
            host: name of the testbed host.
            state_dir: where samples and model files are kept.
            model_bytes: how much of model files.
        """
        self._host, self._state_dir = host, state_dir
        store = Store(state_dir / "models")
        self._models = ModelFiles(store, model_bytes)
        self._held = Held(store)
        self._references = References()
        self._changing = threading.Lock()
        self._run: Run | None = None
        self._channel: tuple[str, grpc.Channel] | None = None

    @property
    def run(self) -> Run | None:
        """The current run, also after it finished."""
        return self._run

    def shutdown(self, drain_s: float) -> None:
        """End the current run because the agent stops: drain, write samples, tell the agent before."""
        with self._changing:
            if self._run is not None:
                reason = "the agent was stopped"
                self._run.refuse_new(reason)
                self._run.close(drain_s, reason, Ending(End.FAILED, self._host, Stage.AGENT, reason))
            if self._channel is not None:
                self._channel[1].close()
            self._held.close()

    def Describe(  # noqa: N802 - the proto names it
        self, _request: agent_pb2.DescribeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.DescribeReply:
        """What runs here, and on what."""
        return _answered(
            context,
            lambda: agent_pb2.DescribeReply(
                hostname=platform.node(),
                agent_version=__version__,
                tensorflow_version=runtime.tensorflow_version(),
                python_version=platform.python_version(),
                cores=runtime.usable_cores(),
                cpu_model=_cpu_model(),
            ),
        )

    def HasModel(  # noqa: N802 - the proto names it
        self, request: agent_pb2.ModelFile, context: grpc.ServicerContext
    ) -> agent_pb2.HasModelReply:
        """Whether a model file is here."""
        return _answered(context, lambda: agent_pb2.HasModelReply(present=self._models.has(request)))

    def PutModel(  # noqa: N802 - the proto names it
        self, request_iterator: Iterator[agent_pb2.ModelChunk], context: grpc.ServicerContext
    ) -> agent_pb2.PutModelReply:
        """Take a model file in, whatever run is under way."""
        return _answered(context, lambda: agent_pb2.PutModelReply(removed=self._models.put(request_iterator)))

    def Prepare(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunConfig, context: grpc.ServicerContext
    ) -> agent_pb2.PrepareReply:
        """Replace the current run, aborting what is under way."""
        with self._changing:
            return _answered(context, lambda: self._prepare(request))

    def Start(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunRequest, context: grpc.ServicerContext
    ) -> agent_pb2.StartReply:
        """Start the camera."""
        with self._changing:
            run = self._current(request, context)
            if not run.is_first or run.phase is not Phase.PREPARED:
                why = "this agent has no camera" if not run.is_first else run.trouble or f"it is {run.phase}"
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"cannot start run {request.run_id}: {why}")
            run.start()
            _LOG.info("run %s started", request.run_id)
            return agent_pb2.StartReply()

    def Status(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunRequest, context: grpc.ServicerContext
    ) -> agent_pb2.StatusReply:
        """Where the run stands."""
        run = self._current(request, context)
        # The phase first: once it says done, the counts read after it are final.
        phase, trouble = run.phase, run.trouble
        return agent_pb2.StatusReply(
            run_id=run.plan.run_id,
            phase=_PHASES[phase],
            error="" if trouble is None else str(trouble),
            error_stage="" if trouble is None else str(trouble.stage),
            **run.counts(),
        )

    def Finish(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunRequest, context: grpc.ServicerContext
    ) -> agent_pb2.FinishReply:
        """Drain until shortly before the call's own deadline (30 s without one), then write everything to disk."""
        with self._changing:
            run = self._current(request, context)
            remaining = context.time_remaining()
            drain_s = _DRAIN_S if remaining is None else min(_DRAIN_S, max(0.0, remaining - _REPLY_S))
            run.close(drain_s, "not answered before the run was finished")
            path = self._samples_path(run.plan.run_id)
            return agent_pb2.FinishReply(samples_path=str(path), samples=run.samples)

    def _samples_path(self, run_id: str) -> Path:
        return Path("spool") / run_id / f"{self._host}.jsonl"

    def _current(self, request: agent_pb2.RunRequest, context: grpc.ServicerContext) -> Run:
        run = self._run
        if run is None or run.plan.run_id != request.run_id:
            held = "none" if run is None else repr(run.plan.run_id)
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{self._host}: no run {request.run_id!r}, the current one is {held}",
            )
        return run

    def _prepare(self, request: agent_pb2.RunConfig) -> agent_pb2.PrepareReply:
        begin = time.monotonic()
        assignment = config.read(request, self._host)
        plan = assignment.plan
        with self._held.change(assignment.cut, assignment.warm_batch) as held:
            bench = self._bench(assignment, held)
            if self._run is not None:
                self._run.close(0.0, "replaced by another run")
                self._run = None
            channel = None
            if assignment.next_address is not None:
                channel = self._connect(assignment.next_address, plan.next_host or "")
            self._run = Run(plan, bench, channel, self._state_dir / self._samples_path(plan.run_id))
        took = time.monotonic() - begin
        _LOG.info(
            "run %s prepared in %.2f s: model %s from %s to %s, next %s",
            *(plan.run_id, took, held.cut.model_sha256[:12], ", ".join(held.cut.feeds), ", ".join(held.cut.fetches)),
            plan.next_host or "none",
        )
        outputs = [
            agent_pb2.TensorInfo(name=boundary.name, dtype=boundary.dtype.name, shape=shape)
            for boundary, shape in held.outputs()
        ]
        return agent_pb2.PrepareReply(weights_bytes=held.slice.weights_bytes, outputs=outputs, prepare_s=took)

    def _bench(self, assignment: Assignment, held: HeldSlice) -> Bench:
        bench = Bench(held.slice.run, codec.encode, codec.decode)
        source, subject = assignment.plan.source, assignment.subject
        if source is None or subject is None:
            return bench
        whole = self._references.of(
            *(held.cut.model_sha256, held.model.executor, held.cut.feeds),
            (subject.images, subject.answer, source.batch_size),
        )
        return _with_camera(bench, source, whole)

    def _connect(self, address: str, host: str) -> grpc.Channel:
        if self._channel is None or self._channel[0] != address:
            if self._channel is not None:
                self._channel[1].close()
            self._channel = (address, channels.open_channel(address))
        channel = self._channel[1]
        # Always asked: an agent that was killed since the last run is found here, not by the first frame.
        health = channels.ask_health(channel, _CONNECT_S, wait=True)
        if health != channels.SERVING:
            raise AgentError(
                f"no healthy agent at {address}: {health} within {_CONNECT_S:g} s",
                where=host,
                mend="prepare from the last agent to the first, and check the agent's --data address and the link",
            )
        return channel


def _with_camera(bench: Bench, source: SourcePlan, whole: Reference) -> Bench:
    def draw(frame_id: int) -> Tensors:
        return whole.draw(source.seed, frame_id, source.batch_size)

    def judge(frame_id: int, output: bytes) -> Agreement:
        drawn = whole.pool.draw(source.seed, frame_id, source.batch_size)
        return whole.compare(drawn, bench.decode(output)[0])

    return Bench(bench.compute, bench.encode, bench.decode, draw, judge)


def _answered(context: grpc.ServicerContext, answer: Callable[[], Reply]) -> Reply:
    try:
        return answer()
    except (AgentConfigError, PayloadError) as error:
        _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
    except NoRoomError as error:
        _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, error)
    except OneLineError as error:
        _refuse(context, grpc.StatusCode.UNAVAILABLE, error)


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, error: OneLineError) -> NoReturn:
    _LOG.error("%s", error)
    context.abort(code, str(error))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()
