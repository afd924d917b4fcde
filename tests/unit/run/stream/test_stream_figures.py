"""What the table shows is what happened since the last look, and the totals since the beginning."""

from __future__ import annotations

import json

import pytest

from slicebed.run.stream.figures import Look, StreamFigures, figures_of, unrated
from slicebed_agent.rpc.v1 import agent_pb2

MS = 1_000_000


def reply(frames, *, run="r", cpu_ns=0, phase=agent_pb2.RUN_PHASE_RUNNING, **first):
    status = agent_pb2.StatusReply(run_id=run, phase=phase, **first)
    status.stages.add(
        name="slice", frames=frames, queued=1, queue_wait_ns=2 * MS * frames, compute_ns=5 * MS * frames, dropped=3
    )
    status.usage.cpu_ns = cpu_ns
    status.usage.memory_bytes = 400_000_000
    return status


def with_link(status, frames, **fields):
    status.link.CopyFrom(
        agent_pb2.LinkStatus(
            next_host="edge",
            connected=True,
            frames=frames,
            bytes_before=1000 * frames,
            bytes_after=400 * frames,
            send_ns=4 * MS * frames,
            codec=agent_pb2.CODEC_TENSOR_PROTO,
            **fields,
        )
    )
    return status


def test_means_are_of_the_last_interval_and_counts_are_totals():
    before = Look(10.0, {"client": reply(100, cpu_ns=0)})
    later = reply(148, cpu_ns=500 * MS, captured=160, completed=140, dropped=15, failed=1, early=7)
    later.latency_p50_ns, later.latency_p95_ns = 30 * MS, 45 * MS
    found = figures_of(before, Look(12.0, {"client": later}), ("client",), "1-8", 2.0)
    assert (found.captured, found.completed, found.dropped, found.failed, found.early) == (160, 140, 15, 1, 7)
    assert (found.since_s, found.cut, found.latency_p50_ms, found.latency_p95_ms) == (10.0, "1-8", 30.0, 45.0)
    (host,) = found.hosts
    (stage,) = host.stages
    assert (stage.frames, stage.dropped, stage.queued) == (148, 3, 1)
    assert stage.frames_per_s == pytest.approx(24)
    assert stage.compute_ms == pytest.approx(5)
    assert stage.queue_wait_ms == pytest.approx(2)
    assert host.cpu_percent == pytest.approx(25)
    assert host.memory_bytes == 400_000_000


def test_a_link_shows_what_the_codec_makes_of_a_frame():
    first, second = with_link(reply(10), 10), with_link(reply(30), 30, rate_bit_per_s=50_000_000, reconnects=1)
    second.link.round_trip_ns, second.link.clock_offset_ns, second.link.clock_bound_ns = 42 * MS, -3 * MS, MS // 2
    found = figures_of(Look(0.0, {"client": first}), Look(1.0, {"client": second}), ("client",), "a", 0.0)
    link = found.hosts[0].link
    assert (link.peer, link.codec, link.bytes_before, link.bytes_after) == ("edge", "tensorproto", 1000, 400)
    assert (link.round_trip_ms, link.clock_offset_ms, link.clock_bound_ms) == (42.0, -3.0, 0.5)
    assert (link.rate_bit_per_s, link.reconnects, link.send_ms) == (50_000_000, 1, 4.0)


def link_to_edge(**fields):
    return agent_pb2.RunConfig(link=agent_pb2.LinkConfig(next_host="edge", **fields))


@pytest.mark.parametrize(
    ("asked", "measured", "noted"),
    [
        ({"codec": agent_pb2.CODEC_AUTO}, 0, True),
        ({"codec": agent_pb2.CODEC_AUTO}, 50_000_000, False),
        ({"codec": agent_pb2.CODEC_AUTO, "rate_bit_per_s": 10_000_000}, 0, False),
        ({"codec": agent_pb2.CODEC_RAW}, 0, False),
    ],
)
def test_auto_that_waits_for_a_rate_says_so(asked, measured, noted):
    status = with_link(reply(30), 30, rate_bit_per_s=measured)
    status.link.codec = agent_pb2.CODEC_RAW
    hosts = unrated([("client", link_to_edge(**asked)), ("edge", agent_pb2.RunConfig())])
    link = figures_of(None, Look(1.0, {"client": status}), ("client",), "a", 0.0, unrated=hosts).hosts[0].link
    assert ("the testbed gives the link no rate" in link.note) is noted


def test_where_no_frame_came_there_is_no_mean():
    look = {"client": reply(5)}
    (host,) = figures_of(Look(0.0, look), Look(1.0, look), ("client",), "a", 0.0).hosts
    assert host.stages[0].compute_ms is None
    assert host.stages[0].frames_per_s == 0


@pytest.mark.parametrize("again", [reply(4), reply(200, run="another")])
def test_an_agent_that_began_anew_shows_no_nonsense(again):
    (host,) = figures_of(Look(0.0, {"edge": reply(100)}), Look(1.0, {"edge": again}), ("edge",), "a", 0.0).hosts
    assert host.stages[0].frames_per_s == 0
    assert host.stages[0].compute_ms == pytest.approx(5)
    assert host.cpu_percent is None


def test_a_lost_agent_and_a_failed_run_say_why():
    failed = reply(5, phase=agent_pb2.RUN_PHASE_FAILED, error="the link broke", error_stage="link")
    look = Look(1.0, {"client": failed}, {"edge": "no answer (closed)"})
    client, edge = figures_of(None, look, ("client", "edge"), "a", 0.0).hosts
    assert client.trouble == "link: the link broke"
    assert edge.trouble == "no answer (closed)"


def test_a_failure_names_its_host_once_and_only_where_it_is_another():
    failed = reply(5, phase=agent_pb2.RUN_PHASE_FAILED, error="edge: agent: disk full", error_stage="agent")
    failed.error_host = "edge"
    found = figures_of(None, Look(1.0, {"client": failed, "edge": failed}), ("client", "edge"), "a", 0.0).hosts
    assert [host.trouble for host in found] == ["edge: agent: disk full", "agent: disk full"]


def test_figures_pass_through_json():
    look = Look(1.0, {"client": with_link(reply(5), 5)}, {"edge": "no answer"})
    found = figures_of(None, look, ("client", "edge"), "1-8", 0.0)
    plain = json.loads(json.dumps({**found.to_plain(), "campaign": "another key"}))
    assert StreamFigures.from_plain(plain) == found
