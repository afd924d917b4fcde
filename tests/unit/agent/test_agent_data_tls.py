"""The data plane against foreigners: who may reach whom, by the testbed's certificates."""

from __future__ import annotations

import numpy as np
import pytest
from certificates import Authority
from link_ends import PLAIN, both_ends, hello, last_words

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.pipeline.contracts import End
from slicebed_agent.rpc import flight
from slicebed_agent.rpc.stream import Fault


@pytest.fixture
def ends(tmp_path):
    with both_ends(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def authority():
    return Authority()


def security(authority, host):
    return flight.Security(authority.certificate, *authority.issue(host))


def test_agents_with_certificates_of_the_testbed_reach_each_other(ends, authority):
    _, port = ends.plane(security(authority, "cloud"))
    receiver = ends.receiver()
    sender = ends.sender(port, security=security(authority, "edge"))
    big = np.arange(1_000_000, dtype=np.int32)
    sender.send(big)
    assert sender.wait(1) == [End.COMPLETED]
    np.testing.assert_array_equal(receiver.seen[0][1][0], big)


def test_another_host_of_the_testbed_is_told_that_it_is_not_the_neighbour(ends, authority):
    _, port = ends.plane(security(authority, "cloud"))
    ends.receiver()
    neighbour = ends.sender(port, security=security(authority, "edge"))
    with pytest.raises(AgentError, match=r"cloud: .*'client' is not 'edge'"):
        ends.sender(port, security=security(authority, "client"))
    with pytest.raises(AgentError, match="'client' is not 'edge'"):
        ends.sender(port, security=security(authority, "client"), host="client")
    stream = flight.Client(security(authority, "client")).connect(f"127.0.0.1:{port}", "cloud", hello())
    assert last_words(stream)[1] is Fault.FOREIGN
    neighbour.send()
    assert neighbour.wait(1) == [End.COMPLETED]


@pytest.mark.parametrize("kind", ["none", "of another testbed", "plaintext"])
def test_a_client_without_a_certificate_of_the_testbed_fails_in_the_handshake(ends, authority, kind):
    _, port = ends.plane(security(authority, "cloud"))
    ends.receiver()
    foreign = {
        "none": flight.Security(authority.certificate, None, None),
        "of another testbed": flight.Security(authority.certificate, *Authority("other").issue("edge")),
        "plaintext": PLAIN,
    }[kind]
    with pytest.raises(AgentError, match=r"no stream to the agent.*not be of the same testbed, .*deploy mends"):
        ends.sender(port, security=foreign, connect_s=600)
    neighbour = ends.sender(port, security=security(authority, "edge"))
    neighbour.send()
    assert neighbour.wait(1) == [End.COMPLETED]


def test_a_server_that_is_not_the_next_host_is_not_trusted(ends, authority):
    _, port = ends.plane(security(authority, "cloud2"))
    ends.receiver()
    with pytest.raises(AgentError, match=r"cloud: no stream to the agent.*slicebed deploy mends"):
        ends.sender(port, security=security(authority, "edge"), connect_s=600)


def test_certificates_are_read_from_a_folder(tmp_path, authority):
    folder = authority.write(tmp_path / "tls", "edge")
    assert flight.Security.read(folder).mutual
    (folder / "key.pem").write_text("nothing")
    with pytest.raises(AgentConfigError, match=r"key\.pem: is no PEM file"):
        flight.Security.read(folder)
    (folder / "key.pem").unlink()
    with pytest.raises(AgentConfigError, match=r"key\.pem: cannot be read: No such file"):
        flight.Security.read(folder)


def test_a_key_is_not_shown(authority):
    assert "PRIVATE" not in repr(security(authority, "edge"))
