"""The measurements' order over channels; the hosts are two services in this process, the link is the loopback."""

from __future__ import annotations

import pytest
from verify_samples import ask

from slicebed.errors import ProvisionError, SpecError
from slicebed.testbed.verify.orchestrate import measure_base, verify_links
from slicebed_agent.errors import HostError
from slicebed_agent.host.measure.service import MeasureService

LINK = ask(address_a="127.0.0.1", address_b="127.0.0.2")


class LocalChannel:
    """A host in this process; `before` may stand in the way of a call."""

    def __init__(self, before=lambda verb: None):
        self.verbs = MeasureService().handlers()
        self.before = before
        self.called = []

    def call(self, verb, request, timeout_s):
        self.called.append(verb)
        self.before(verb)
        try:
            return self.verbs[verb](request)
        except HostError as error:
            raise ProvisionError(str(error)) from error


def test_the_base_round_trip_is_in_microseconds_by_pair_and_nothing_stays_open():
    channels = {"edge": LocalChannel(), "cloud": LocalChannel()}
    told = []
    (pair,) = measure_base(channels, [LINK], progress=told.append).items()
    assert pair[0] == ("edge", "cloud")
    assert 0 <= pair[1] < 20_000
    assert told == ["base round trips: edge -> cloud"]
    assert channels["edge"].called == ["run_probe"]
    assert channels["cloud"].called == ["start_responder", "stop_responder"]


def test_a_probe_that_fails_still_closes_the_far_end_and_tells_its_own_error():
    def refuse(verb):
        if verb == "run_probe":
            raise ProvisionError("the connection was lost", where="edge")

    channels = {"edge": LocalChannel(refuse), "cloud": LocalChannel()}
    with pytest.raises(ProvisionError, match="edge: the connection was lost"):
        verify_links(channels, [LINK])
    assert channels["cloud"].called == ["start_responder", "stop_responder"]


def test_an_address_that_is_not_the_hosts_is_its_own_error():
    wrong = ask(address_a="127.0.0.1", address_b="192.0.2.77")
    with pytest.raises(ProvisionError, match=r"192\.0\.2\.77: cannot be bound"):
        measure_base({"edge": LocalChannel(), "cloud": LocalChannel()}, [wrong])


def test_a_host_without_a_connection_is_named_before_anything_is_measured():
    near = LocalChannel()
    for verify in (measure_base, verify_links):
        with pytest.raises(SpecError, match="edge -> cloud: host cloud has no connection"):
            verify({"edge": near}, [LINK])
    assert near.called == []


def test_no_links_give_no_verdicts():
    assert verify_links({}, []) == []
    assert measure_base({}, []) == {}
