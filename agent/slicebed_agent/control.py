"""The Control service: one run at a time, prepared, started, watched and finished by the control machine."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import platform
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import grpc

from slicebed_agent import __version__, bench, codec, config, status, timing
from slicebed_agent.bench import Shelf
from slicebed_agent.current import Current, WrongTimeError
from slicebed_agent.errors import AgentConfigError, AgentError, OneLineError, PayloadError
from slicebed_agent.host.usage import Meter
from slicebed_agent.model import runtime
from slicebed_agent.model.files import Store
from slicebed_agent.model.held import Held, Versions
from slicebed_agent.model.profile.parts import GoneError
from slicebed_agent.model.reference import References
from slicebed_agent.pipeline.contracts import At, End, Ending, Phase
from slicebed_agent.pipeline.goodput import believed
from slicebed_agent.pipeline.link import Link
from slicebed_agent.pipeline.run import Run
from slicebed_agent.rpc import flight
from slicebed_agent.rpc.v1 import agent_pb2
from slicebed_agent.transfer import ModelFiles, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slicebed_agent.config import Assignment
    from slicebed_agent.model.held import HeldSlice
    from slicebed_agent.pipeline.contracts import LinkPlan
    from slicebed_agent.pipeline.ledger import Ledger
    from slicebed_agent.pipeline.run import Note, OpenLink
    from slicebed_agent.rpc.flight import Security
    from slicebed_agent.rpc.stream import Stream

_LOG = logging.getLogger(__name__)
Reply = TypeVar("Reply")
_DRAIN_S: Final = 30.0
_SEE_LOG: Final = "see its log: slicebed gather"
_REPLY_S: Final = 1.0  # kept back from a call's own deadline, so that the answer still arrives


class Control:
    """Implements `slicebed_agent.rpc.v1.Control`; method names are the proto's."""

    def __init__(self, host: str, state_dir: Path, model_bytes: int, security: Security) -> None:
        """Remember who this agent is; it has no run yet.

        Args:
            host: name of the testbed host.
            state_dir: where samples and model files are kept.
            model_bytes: how much of model files.
            security: of the links to other agents.
        """
        self._host, self._state_dir, self._client = host, state_dir, flight.Client(security)
        store = Store(state_dir / "models")
        self._models = ModelFiles(store, model_bytes)
        self._shelf = Shelf(store, Held(store), References())
        self._meter = Meter()
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._current: Current | None = None
        # Of the last run that was prepared: kept until the next one is, so that what both need stays in memory.
        self._versions: Versions | None = None

    @property
    def run(self) -> Run | None:
        """The current run, also after it finished."""
        current = self._current
        return None if current is None else current.run

    def shutdown(self, drain_s: float) -> None:
        """End the current run because the agent stops: drain, write samples, tell the agent before."""
        self._stopping.set()
        with self._changing:
            if self._current is not None:
                reason = "the agent was stopped"
                self._current.run.refuse_new(reason)
                self._current.end(drain_s, reason, Ending(End.FAILED, self._host, At.AGENT, reason))
            if self._versions is not None:
                self._versions.close()
                self._versions = None
            self._client.close()

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
                cpu_model=runtime.cpu_model(),
                # A meter of its own: a run may be reading this agent's in another thread.
                measures_energy=Meter().read()["energy_uj"] is not None,
            ),
        )

    def HasModel(  # noqa: N802 - the proto names it
        self, request: agent_pb2.ModelFile, context: grpc.ServicerContext
    ) -> agent_pb2.HasModelReply:
        """Whether a file is here."""
        return _answered(context, lambda: agent_pb2.HasModelReply(present=self._models.has(request)))

    def PutModel(  # noqa: N802 - the proto names it
        self, request_iterator: Iterator[agent_pb2.ModelChunk], context: grpc.ServicerContext
    ) -> agent_pb2.PutModelReply:
        """Take a file in, whatever run is under way."""
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
            run = self._of(request.run_id, context).run
            if not run.is_first or run.phase is not Phase.PREPARED:
                why = "this agent has no camera" if not run.is_first else run.trouble or f"it is {run.phase}"
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"cannot start run {request.run_id}: {why}")

            def start() -> agent_pb2.StartReply:
                run.start()
                _LOG.info("run %s started", request.run_id)
                return agent_pb2.StartReply()

            return _answered(context, start)

    def Status(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunRequest, context: grpc.ServicerContext
    ) -> agent_pb2.StatusReply:
        """Where the run stands."""
        current = self._of(request.run_id, context)
        return status.reply(request.run_id, current.run.status(), current.assignment.codec)

    def PrepareCut(  # noqa: N802 - the proto names it
        self, request: agent_pb2.CutConfig, context: grpc.ServicerContext
    ) -> agent_pb2.PrepareReply:
        """Make other slices ready beside those in use."""
        with self._changing:
            current = self._of(request.run_id, context)
            begin = time.monotonic()
            return _answered(
                context, lambda: _prepared(current.prepare_cut(request), begin, f"version {request.version} of the cut")
            )

    def SwitchCut(  # noqa: N802 - the proto names it
        self, request: agent_pb2.CutRequest, context: grpc.ServicerContext
    ) -> agent_pb2.SwitchReply:
        """Let frames go through other slices from now on."""
        with self._changing:
            current = self._of(request.run_id, context)
            return _answered(context, lambda: agent_pb2.SwitchReply(first_frame_id=current.switch_cut(request.version)))

    def ReleaseCut(  # noqa: N802 - the proto names it
        self, request: agent_pb2.CutRequest, context: grpc.ServicerContext
    ) -> agent_pb2.ReleaseReply:
        """Let go of slices that no frame goes through any more."""
        with self._changing:
            current = self._of(request.run_id, context)

            def release() -> agent_pb2.ReleaseReply:
                current.release_cut(request.version, abandoned=request.abandoned)
                return agent_pb2.ReleaseReply()

            return _answered(context, release)

    def Finish(  # noqa: N802 - the proto names it
        self, request: agent_pb2.RunRequest, context: grpc.ServicerContext
    ) -> agent_pb2.FinishReply:
        """Drain until shortly before the call's own deadline (30 s without one), then write everything to disk."""
        with self._changing:
            current = self._of(request.run_id, context)
            remaining = context.time_remaining()
            drain_s = _DRAIN_S if remaining is None else min(_DRAIN_S, max(0.0, remaining - _REPLY_S))

            def finish() -> agent_pb2.FinishReply:
                current.end(drain_s, "not answered before the run was finished")
                path = self._samples_path(request.run_id)
                return agent_pb2.FinishReply(samples_path=str(path), samples=current.run.samples)

            return _answered(context, finish)

    def Profile(  # noqa: N802 - the proto names it
        self, request: agent_pb2.ProfileRequest, context: grpc.ServicerContext
    ) -> agent_pb2.ProfileReply:
        """What the parts of a model take here; ends the current run."""
        return self._alone(context, lambda go_on: timing.profile(request, self._shelf, go_on))

    def Time(  # noqa: N802 - the proto names it
        self, request: agent_pb2.TimeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.TimeReply:
        """What one slice takes here; ends the current run."""
        return self._alone(context, lambda go_on: timing.time_one(request, self._shelf, go_on))

    def _alone(self, context: grpc.ServicerContext, measure: Callable[[Callable[[], None]], Reply]) -> Reply:
        def go_on() -> None:
            if not context.is_active() or self._stopping.is_set():
                raise GoneError("nobody waits for this measurement any more", where=self._host)

        def answer() -> Reply:
            go_on()
            if self._current is not None:
                self._current.end(0.0, "replaced by a measurement")
                self._current = None
            return measure(go_on)

        with self._changing:
            return _answered(context, answer)

    def _samples_path(self, run_id: str) -> Path:
        return Path("spool") / run_id / f"{self._host}.jsonl"

    def _of(self, run_id: str, context: grpc.ServicerContext) -> Current:
        current = self._current
        if current is None or current.run.plan.run_id != run_id:
            held = "none" if current is None else repr(current.run.plan.run_id)
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{self._host}: no run {run_id!r}, the current one is {held}"
            )
        return current

    def _prepare(self, request: agent_pb2.RunConfig) -> agent_pb2.PrepareReply:
        begin = time.monotonic()
        assignment = config.read(request, self._host)
        plan = assignment.plan
        with contextlib.ExitStack() as undo:
            versions = Versions(self._shelf.held)
            undo.callback(versions.close)
            open_until = undo.enter_context(contextlib.ExitStack())
            made = versions.add(plan.version, assignment.cuts, assignment.warm_batch)
            tools = bench.make(assignment, versions, self._shelf, open_until)
            if self._current is not None:
                self._current.end(0.0, "replaced by another run")
                self._current = None
            link = None
            if plan.link is not None:
                warm_bytes = bench.boundary_bytes(assignment, tools.drawn_bytes, made)
                link = self._link(assignment, dataclasses.replace(plan.link, warm_bytes=warm_bytes))
            path = self._state_dir / self._samples_path(plan.run_id)
            run = Run(plan, tools, link, path, self._meter.read)
            self._current = Current(run, assignment, versions, open_until.pop_all())
            undo.pop_all()
        former, self._versions = self._versions, versions
        if former is not None:
            former.close()
        return _prepared(made, begin, f"run {plan.run_id}")

    def _link(self, assignment: Assignment, to: LinkPlan) -> OpenLink:
        plan = dataclasses.replace(assignment.plan, link=to)

        def open_link(ledger: Ledger, note: Note, on_broken: Callable[[Ending], None]) -> Link:
            opened: list[Link] = []

            def rate() -> int:
                return believed(to.rate_bit_per_s, opened[0].state().rate_bit_per_s if opened else 0)

            def connect(hello: bytes) -> Stream:
                return self._client.connect(to.next_address, to.next_host, hello)

            encode = codec.encoder(assignment.codec, rate, note)
            opened.append(Link(plan, encode, connect, ledger, note, on_broken))
            return opened[0]

        return open_link


def _prepared(made: dict[str, HeldSlice], begin: float, what: str) -> agent_pb2.PrepareReply:
    took = time.monotonic() - begin
    _LOG.info("%s prepared in %.2f s: %s", what, took, "; ".join(f"{name} {each.cut}" for name, each in made.items()))
    slices = [
        agent_pb2.PreparedSlice(
            stage=stage,
            weights_bytes=held.slice.weights_bytes,
            outputs=[
                agent_pb2.TensorInfo(name=boundary.name, dtype=boundary.dtype.name, shape=shape)
                for boundary, shape in held.outputs()
            ],
        )
        for stage, held in made.items()
    ]
    return agent_pb2.PrepareReply(slices=slices, prepare_s=took)


def _answered(context: grpc.ServicerContext, answer: Callable[[], Reply]) -> Reply:
    try:
        return answer()
    except (AgentConfigError, PayloadError) as error:
        _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
    except NoRoomError as error:
        _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, error)
    except WrongTimeError as error:
        _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)
    except OneLineError as error:
        # Not UNAVAILABLE, which says that no agent is there.
        _refuse(context, grpc.StatusCode.ABORTED, error)
    except grpc.RpcError:
        # The caller's own stream broke: nobody is there to be told.
        raise
    except OSError as error:
        what = f"{error.filename or 'the operating system'}: {error.strerror or 'refused'}"
        _refuse(context, grpc.StatusCode.ABORTED, AgentError(what, mend=_SEE_LOG))
    except Exception:  # noqa: BLE001 - gRPC would send Python's own words for it
        _LOG.exception("a request that this agent was not made for")
        _refuse(context, grpc.StatusCode.INTERNAL, AgentError("the agent failed over this request", mend=_SEE_LOG))


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, error: OneLineError) -> NoReturn:
    _LOG.error("%s", error)
    context.abort(code, str(error))
