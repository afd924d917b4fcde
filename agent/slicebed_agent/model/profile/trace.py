"""When each kernel of a run began and ended, as TensorFlow itself tells it.

Source: TensorFlow's config.proto (RunOptions, RunMetadata) and step_stats.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentError
from slicebed_agent.model.execute import encode
from slicebed_agent.model.graphdef.errors import WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, VARINT, fields, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.execute.session import Session
    from slicebed_agent.model.execute.tensors import Array

# RunOptions: trace_level = SOFTWARE_TRACE, which takes the kernels' times and nothing of any device beside.
_TRACE: Final = encode.number(1, 1)
# RunMetadata.step_stats, StepStats.dev_stats, DeviceStepStats.node_stats
_STEP_STATS, _DEVICES, _KERNELS = 1, 1, 2
# NodeExecStats: node_name, all_start_nanos, op_start_rel_nanos, op_end_rel_nanos
_NAME, _START, _BEGIN, _END = 1, 13, 14, 15


@dataclass(frozen=True, slots=True)
class Kernel:
    """One run of one kernel.

    Attributes:
        name: of the node that it ran for, in the graph as TensorFlow rewrote it.
        begin_ns, end_ns: of its computation, by the clock of the day.
    """

    name: str
    begin_ns: int
    end_ns: int


class TracedRun:
    """Runs a session with tracing; as `rounds.Runnable` it is timed beside the runs without.

    Attributes:
        told: a serialised RunMetadata of each run, in their order.
    """

    def __init__(self, session: Session) -> None:
        """Take over a session."""
        self._session = session
        self.told: list[bytes] = []

    def run(self, arrays: Sequence[Array], /) -> tuple[Array, ...]:
        """Compute, and keep what TensorFlow tells."""
        made, told = self._session.run_told(arrays, _TRACE)
        self.told.append(told)
        return made

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def read_kernels(metadata: bytes) -> list[Kernel]:
    """The kernels that a run consisted of.

    Args:
        metadata: a serialised RunMetadata.

    Raises:
        AgentError: it tells of none, or is not what TensorFlow 2 writes.
    """
    try:
        found = [_kernel(metadata, *span) for span in _each(metadata, _STEP_STATS, _DEVICES, _KERNELS)]
    except WireError as error:
        raise AgentError(f"what TensorFlow tells of a run is malformed: {error.what}", where="profile") from error
    if not any(kernel.begin_ns for kernel in found):
        raise AgentError(
            "TensorFlow tells nothing of its kernels",
            where="profile",
            mend="install a tensorflow wheel of 2.20 or later, or profile without --operators",
        )
    return found


def _each(data: bytes, *path: int) -> list[tuple[int, int]]:
    """Where the messages at a path of field numbers begin and end."""
    spans = [(0, len(data))]
    for wanted in path:
        spans = [
            (first, last)
            for span in spans
            for number, kind, _, first, last in fields(data, *span)
            if (number, kind) == (wanted, BYTES)
        ]
    return spans


def _kernel(data: bytes, start: int, end: int) -> Kernel:
    name = ""
    told = dict.fromkeys((_START, _BEGIN, _END), 0)
    for number, kind, value, first, last in fields(data, start, end):
        if (number, kind) == (_NAME, BYTES):
            name = text(data, first, last)
        elif number in told and kind == VARINT:
            told[number] = value
    return Kernel(name, told[_START] + told[_BEGIN], told[_START] + told[_END])
