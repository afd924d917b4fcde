"""What every way of the benchmark is asked for, and what each makes of it."""

from ipaddress import ip_address, ip_network

from benchmarks.network import wishes
from benchmarks.network.ways import wish

from slicebed_agent.host.wish import parse_wish


def test_five_thousand_destinations_are_different_and_none_is_the_host_itself():
    addresses = {peer.address for peer in wishes.peers(5000, 0)}
    assert len(addresses) == 5000
    assert wishes.OWN_ADDRESS not in addresses
    assert all(ip_address(address) in ip_network("10.250.0.0/16") for address in addresses)


def test_a_change_touches_the_first_destination_only_and_comes_back():
    for delay_ms in (0, 10):
        asked = wishes.peers(3, delay_ms)
        changed = wishes.with_first_changed(asked, 0)
        assert changed[0] != asked[0]
        assert changed[1:] == asked[1:]
        assert wishes.with_first_changed(asked, 1) == asked


def test_slicebed_is_asked_for_the_same_rates_and_delays():
    links = parse_wish(wish(wishes.peers(2, 10))).network.links
    assert [str(link.peer_address) for link in links] == ["10.250.1.1", "10.250.1.2"]
    assert {(link.condition.rate_bit_per_s, link.condition.delay_us) for link in links} == {(100_000_000, 10_000)}
