"""What streams of frames over a host's links ask of its TCP: buffers from the links' bandwidth-delay products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.host.wish import MAX_BUFFER_BYTES

if TYPE_CHECKING:
    from slicebed.spec.links import Link
    from slicebed.spec.testbed import Testbed

# Of a buffer the kernel offers half as window (tcp_adv_win_scale); as much again is for what waits at the shaper.
_PRODUCTS = 4
# Where a link has no rate: what a common interface sends.
ASSUMED_RATE_BIT_PER_S = 1_000_000_000


def tcp_plain(testbed: Testbed, host: str) -> dict[str, int]:
    """The wish of a host's TCP, as `slicebed_agent.host.wish.TcpWish` holds it.

    Each buffer is four times the largest product of rate and round trip among the host's links, of what it receives
    and of what it sends. A link without a rate counts as 1 Gbit/s; a sender's uplink caps its links.
    """
    links = [link for link in testbed.links if host in link.pair]
    peers = [link.b if link.a == host else link.a for link in links]
    return {
        "receive_bytes": _largest(
            [_product_bytes(testbed, link, peer) for link, peer in zip(links, peers, strict=True)]
        ),
        "send_bytes": _largest([_product_bytes(testbed, link, host) for link in links]),
    }


def _product_bytes(testbed: Testbed, link: Link, sender: str) -> int:
    rates = (link.direction(sender).rate_bit_per_s, testbed.host(sender).uplink_bit_per_s)
    rate_bit_per_s = min((rate for rate in rates if rate is not None), default=ASSUMED_RATE_BIT_PER_S)
    return rate_bit_per_s * link.asked.rtt_us // 8_000_000


def _largest(products_bytes: list[int]) -> int:
    return min(MAX_BUFFER_BYTES, _PRODUCTS * max(products_bytes, default=0))
