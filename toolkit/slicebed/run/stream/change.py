"""A change of cut while frames pass: prepared everywhere, switched at one frame, the old slices let go when drained."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from slicebed.errors import RunError, SlicebedError
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.run.stream.timeline import Timeline

_PREPARE_S: Final = 600.0
_CALL_S: Final = 10.0
# How long frames of the old cut may be under way.
_DRAIN_S: Final = 60.0
_POLL_S: Final = 0.05


class Control(Protocol):
    """The agents, as a change needs them; see `agents.Agents`."""

    @property
    def chain(self) -> Sequence[str]:
        """First to last."""

    def call(self, host: str, method: str, request: Any, timeout_s: float) -> Any:
        """Call an agent; raises RunError."""


def change_cut(
    control: Control,
    configs: Mapping[str, agent_pb2.CutConfig],
    timeline: Timeline,
    switched: Callable[[], None],
    stopped: Callable[[], bool],
) -> None:
    """Carry out one change.

    Args:
        control: the agents of the run.
        configs: what each host with slices is told; see `assignments.cut_configs`.
        timeline: told every step, with the host's seconds or the frame.
        switched: called as soon as the new cut is in use.
        stopped: whether the stream ends, so that nobody need wait for the drain.

    Raises:
        RunError: the new slices could not be made ready, and the old cut stays in use; or frames of the old cut did not
            end in time, and its slices stay beside the new ones.
    """
    (run_id, version), *_ = {(each.run_id, each.version) for each in configs.values()}
    first = control.chain[0]
    hosts = [host for host in reversed(control.chain) if host in configs]
    request = agent_pb2.CutRequest(run_id=run_id, version=version)
    try:
        for host in hosts:
            reply = control.call(host, "PrepareCut", configs[host], _PREPARE_S)
            timeline.note("cut prepared", host=host, prepare_s=round(float(reply.prepare_s), 3))
        begun = time.monotonic()
        frame = int(control.call(first, "SwitchCut", request, _CALL_S).first_frame_id)
    except RunError as error:
        _abandon(control, hosts, run_id, version)
        timeline.note("cut refused", version=version, reason=str(error))
        what = f"the new cut was not made ready, the old one stays in use: {error.what}"
        raise RunError(what, where=error.where, mend=error.mend) from error
    switched()
    timeline.note("cut switched", version=version, first_frame=frame)
    if _drained(control, run_id, frame, stopped):
        timeline.note("old cut drained", last_frame=frame - 1, after_s=round(time.monotonic() - begun, 3))
        for host in hosts:
            control.call(host, "ReleaseCut", request, _CALL_S)
        timeline.note("old cut released", version=version)


def _abandon(control: Control, hosts: Sequence[str], run_id: str, version: int) -> None:
    request = agent_pb2.CutRequest(run_id=run_id, version=version, abandoned=True)
    for host in hosts:
        # One that is gone, or never heard of the version, holds nothing of it; why it was abandoned is what counts.
        with contextlib.suppress(SlicebedError):
            control.call(host, "ReleaseCut", request, _CALL_S)


def _drained(control: Control, run_id: str, frame: int, stopped: Callable[[], bool]) -> bool:
    """Wait until every frame before `frame` has ended; False when the stream ends meanwhile."""
    deadline = time.monotonic() + _DRAIN_S
    while not stopped():
        status = control.call(control.chain[0], "Status", agent_pb2.RunRequest(run_id=run_id), _CALL_S)
        if status.ended_below >= frame:
            return True
        if time.monotonic() > deadline:
            raise RunError(
                f"frames of the old cut did not end within {_DRAIN_S:.0f} s; the new cut is in use",
                where=f"host {control.chain[0]}",
                mend="see slicebed stream --status for the queue where they wait",
            )
        time.sleep(_POLL_S)
    return False
