"""The conditions of an experiment's chain: one block of runs each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed_agent.host.wish import LinkCondition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.spec.experiment_model import ConfigurationModel, ExperimentModel
    from slicebed.spec.testbed import Link, Testbed

AS_TESTBED = "testbed"
"""The configuration of an experiment that names none: its testbed file's own links."""


@dataclass(frozen=True)
class HostCondition:
    """How one host behaves in a configuration (paper, section 3.3 and Table 2).

    Attributes:
        overhead_ratio: after each frame the slice sleeps this many times its processing time.
        latency_us: added to all inbound and to all outbound traffic of the host, one way, in microseconds.
        max_message_bytes: longest serialised piece of a tensor in one message; 0 leaves it to the transport.
    """

    overhead_ratio: float
    latency_us: int
    max_message_bytes: int


@dataclass(frozen=True)
class LinkDelay:
    """The one-way delay asked of a link, the same in both directions, in microseconds."""

    a: str
    b: str
    delay_us: int

    @property
    def rtt_us(self) -> int:
        """The round-trip time that a ping should show, in microseconds."""
        return 2 * self.delay_us


@dataclass(frozen=True)
class Configuration:
    """One condition of the whole chain; ``hosts`` is in the order of the chain.

    ``as_testbed`` is that of an experiment that names no conditions: the testbed's links hold, and the hosts neither
    sleep nor divide frames.
    """

    name: str
    hosts: Mapping[str, HostCondition]
    as_testbed: bool = False

    def links(self, pairs: Sequence[tuple[str, str]] | None = None) -> tuple[LinkDelay, ...]:
        """The delays of the links along the chain, or between these hosts; not of ``as_testbed``, which sets none.

        The paper's latency applies to inbound and to outbound traffic of each host (section 3.3), so that a message
        from a to b waits once at a and once at b: one-way delay = latency(a) + latency(b), round trip twice that.
        """
        return tuple(
            LinkDelay(a, b, self.hosts[a].latency_us + self.hosts[b].latency_us)
            for a, b in (pairwise(self.hosts) if pairs is None else pairs)
        )

    def asked_of(self, testbed: Testbed, pairs: Sequence[tuple[str, str]] | None = None) -> Testbed:
        """Give the testbed as this configuration wants it: along the chain its delays alone, elsewhere the file's."""
        if self.as_testbed:
            return testbed
        delays = {frozenset((link.a, link.b)): LinkCondition(delay_us=link.delay_us) for link in self.links(pairs)}

        def asked(link: Link) -> Link:
            delay = delays.get(link.pair)
            return link if delay is None else replace(link, forward=delay, backward=delay)

        return replace(testbed, links=tuple(asked(link) for link in testbed.links))


def configurations_of(model: ExperimentModel) -> tuple[Configuration, ...]:
    """The configurations that a valid file asks for."""
    if model.configurations is not None:
        return tuple(_configuration(each, model.chain) for each in model.configurations)
    idle = HostCondition(overhead_ratio=0.0, latency_us=0, max_message_bytes=0)
    return (Configuration(AS_TESTBED, MappingProxyType(dict.fromkeys(model.chain, idle)), as_testbed=True),)


def _configuration(model: ConfigurationModel, chain: list[str]) -> Configuration:
    conditions = {name: model.hosts[name] for name in chain}
    return Configuration(
        model.name,
        MappingProxyType(
            {
                name: HostCondition(each.overhead_ratio, each.latency, each.max_throughput)
                for name, each in conditions.items()
            }
        ),
    )
