"""An agent that is gone is found in seconds, is told from its neighbours, and is not tried for ever."""

from __future__ import annotations

import pytest

from slicebed.run.stream.figures import Look
from slicebed.run.stream.mend import MOST_IN_A_ROW, SILENCE_S, Failures, Mending, Watch
from slicebed_agent.rpc.v1 import agent_pb2

CHAIN = ("client", "edge", "cloud")
WELL = agent_pb2.StatusReply(phase=agent_pb2.RUN_PHASE_RUNNING)
FAILED = agent_pb2.StatusReply(phase=agent_pb2.RUN_PHASE_FAILED, error="link to edge: reset", error_stage="link")


def look(at_s, *, gone=(), failed=(), strangers=()):
    answers = {host: FAILED if host in failed else WELL for host in CHAIN if host not in gone and host not in strangers}
    return Look(at_s, answers, dict.fromkeys((*gone, *strangers), "no answer"), frozenset(strangers))


@pytest.fixture
def watch():
    watch = Watch(CHAIN)
    assert watch.trouble(look(0.0)) is None
    return watch


def test_a_moment_of_silence_is_none(watch):
    assert watch.trouble(look(SILENCE_S - 0.1, gone=["edge"])) is None
    assert watch.trouble(look(SILENCE_S)) is None
    assert watch.trouble(look(2 * SILENCE_S - 0.1, gone=["edge"])) is None


def test_who_is_silent_for_long_joins_again(watch):
    trouble = watch.trouble(look(SILENCE_S + 0.1, gone=["edge"]))
    assert (trouble.host, trouble.mending) == ("edge", Mending.REJOIN)


def test_an_agent_that_does_not_know_the_run_joins_again_at_once(watch):
    assert watch.trouble(look(0.5, strangers=["cloud"])).host == "cloud"


def test_without_its_camera_a_stream_begins_again(watch):
    assert watch.trouble(look(0.5, strangers=["client"])).mending is Mending.BEGIN_AGAIN


def test_a_neighbours_failure_waits_until_it_is_known_who_is_gone(watch):
    assert watch.trouble(look(1.0, gone=["edge"], failed=["client"])) is None
    assert watch.trouble(look(SILENCE_S + 0.1, gone=["edge"], failed=["client"])).host == "edge"


def test_a_failed_run_begins_again(watch):
    trouble = watch.trouble(look(1.0, failed=["client"]))
    assert (trouble.host, trouble.mending) == ("client", Mending.BEGIN_AGAIN)
    assert (trouble.place, trouble.why) == ("host client, stage link", "link to edge: reset")


def test_a_failure_that_came_back_along_the_chain_is_that_of_the_host_it_names(watch):
    told = agent_pb2.StatusReply(
        phase=agent_pb2.RUN_PHASE_FAILED, error="edge: agent: no room", error_stage="agent", error_host="edge"
    )
    trouble = watch.trouble(Look(1.0, {"client": told, "edge": WELL, "cloud": WELL}))
    assert (trouble.host, trouble.stage, trouble.why) == ("edge", "agent", "no room")


def test_after_mending_silence_is_counted_anew(watch):
    watch.mended(100.0)
    assert watch.trouble(look(100.5, gone=["edge"])) is None


def test_failures_soon_after_each_other_end_it_with_pauses_between():
    failures = Failures()
    pauses = []
    for at_s in range(MOST_IN_A_ROW):
        pauses.append(failures.another(float(at_s)))
        assert not failures.too_many
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    failures.another(10.0)
    assert failures.too_many


def test_failures_long_ago_do_not_count():
    failures = Failures()
    for hour in range(3 * MOST_IN_A_ROW):
        assert failures.another(3600.0 * hour) == 0
    assert not failures.too_many
