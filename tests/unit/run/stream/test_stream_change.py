"""A change of cut goes from the last host to the first, and one that fails leaves the old cut in use everywhere."""

from __future__ import annotations

import pytest

from slicebed.errors import RunError
from slicebed.run.stream.change import change_cut
from slicebed.run.stream.timeline import Timeline
from slicebed_agent.rpc.v1 import agent_pb2

HOSTS = ("client", "edge", "cloud")


class Agents:
    """Three agents that do as they are told, but for one call that fails."""

    chain = HOSTS

    def __init__(self, failing=None, ended_below=(40, 41, 42)):
        self.failing, self.ended_below = failing, list(ended_below)
        self.calls = []

    def call(self, host, method, request, timeout_s):
        if method != "Status":
            self.calls.append((host, method, request.version, getattr(request, "abandoned", None)))
        if (host, method) == self.failing and not getattr(request, "abandoned", False):
            raise RunError("no tensor of that name", where=f"host {host}")
        if method == "PrepareCut":
            return agent_pb2.PrepareReply(prepare_s=0.5)
        if method == "SwitchCut":
            return agent_pb2.SwitchReply(first_frame_id=42)
        if method == "Status":
            return agent_pb2.StatusReply(ended_below=self.ended_below.pop(0))
        return agent_pb2.ReleaseReply()


def change(agents, stopped=lambda: False):
    timeline, switched = Timeline(lambda _: None), []
    configs = {host: agent_pb2.CutConfig(run_id="r", version=3) for host in HOSTS[:2]}
    try:
        change_cut(agents, configs, timeline, lambda: switched.append(len(agents.calls)), stopped)
    finally:
        agents.told = [event.to_plain() for event in timeline.events()]
        agents.switched = switched
    return agents


def test_last_to_first_then_the_camera_then_all_let_go_once_drained():
    agents = change(Agents())
    assert agents.calls == [
        ("edge", "PrepareCut", 3, None),
        ("client", "PrepareCut", 3, None),
        ("client", "SwitchCut", 3, False),
        ("edge", "ReleaseCut", 3, False),
        ("client", "ReleaseCut", 3, False),
    ]
    assert agents.ended_below == []
    assert agents.switched == [3]
    names = [event["event"] for event in agents.told]
    assert names == ["cut prepared", "cut prepared", "cut switched", "old cut drained", "old cut released"]
    assert agents.told[2]["first_frame"] == 42
    assert agents.told[3]["last_frame"] == 41


@pytest.mark.parametrize("failing", [("edge", "PrepareCut"), ("client", "PrepareCut"), ("client", "SwitchCut")])
def test_a_failure_before_the_switch_leaves_the_old_cut(failing):
    agents = Agents(failing)
    with pytest.raises(RunError) as failed:
        change(agents)
    assert "the old one stays in use: no tensor of that name" in str(failed.value)
    assert failed.value.where == f"host {failing[0]}"
    assert agents.calls[-2:] == [("edge", "ReleaseCut", 3, True), ("client", "ReleaseCut", 3, True)]
    assert agents.switched == []
    assert agents.told[-1]["event"] == "cut refused"


def test_a_stream_that_ends_does_not_wait_for_the_drain():
    agents = change(Agents(ended_below=()), stopped=lambda: True)
    assert agents.switched == [3]
    assert [call[1] for call in agents.calls] == ["PrepareCut", "PrepareCut", "SwitchCut"]
