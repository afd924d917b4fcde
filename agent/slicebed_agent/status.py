"""A run's state in the proto's words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Phase
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from slicebed_agent.pipeline.link_state import LinkState
    from slicebed_agent.pipeline.state import RunState

_PHASES: Final = {
    Phase.PREPARED: agent_pb2.RUN_PHASE_PREPARED,
    Phase.RUNNING: agent_pb2.RUN_PHASE_RUNNING,
    Phase.DONE: agent_pb2.RUN_PHASE_DONE,
    Phase.FAILED: agent_pb2.RUN_PHASE_FAILED,
}
CODECS: Final = {codec: agent_pb2.Codec.Value(f"CODEC_{codec.name}") for codec in Codec}


def reply(run_id: str, state: RunState, codec: Codec) -> agent_pb2.StatusReply:
    """What Status answers.

    Args:
        run_id: of the run.
        state: of the run.
        codec: that the link was asked to use; told until it has used one.
    """
    counted, latency = state.counted, state.latency_ns or (0, 0)
    return agent_pb2.StatusReply(
        run_id=run_id,
        phase=_PHASES[state.phase],
        captured=counted.captured,
        completed=counted.completed,
        dropped=counted.dropped,
        failed=counted.failed,
        early=counted.early,
        error="" if state.trouble is None else str(state.trouble),
        error_host="" if state.trouble is None else state.trouble.host,
        error_stage="" if state.trouble is None else str(state.trouble.stage),
        stages=[agent_pb2.StageStatus(**dataclasses.asdict(stage)) for stage in state.stages],
        link=None if state.link is None else _link(state.link, codec),
        usage=agent_pb2.Usage(**{name: max(0, value or 0) for name, value in state.usage.items()}),
        next_frame_id=state.next_frame_id,
        ended_below=counted.ended_below,
        latency_p50_ns=latency[0],
        latency_p95_ns=latency[1],
    )


def _link(state: LinkState, codec: Codec) -> agent_pb2.LinkStatus:
    fields = dataclasses.asdict(state)
    return agent_pb2.LinkStatus(**(fields | {"codec": CODECS[state.codec or codec]}))
