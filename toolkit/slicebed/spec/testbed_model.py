"""The keys of testbed.yml as pydantic sees them: type, unit and range of each value by itself."""

from __future__ import annotations

from enum import Enum
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Annotated

from pydantic import Field, PlainValidator

from slicebed.spec.schema import (
    Boolean,
    Governor,
    HostName,
    Role,
    StrictModel,
    Title,
    duration_us,
    frequency_khz,
    number,
    one_of,
    packets,
    rate_bit_per_s,
    refuse,
    share,
    size_bytes,
    told,
    whole,
)
from slicebed_agent.host.wish import Distribution, ShapeAt

MAX_CORE = 1023


class TcpMode(Enum):
    """How the hosts' kernels send TCP."""

    KERNEL = "kernel"
    STREAMING = "streaming"


class DataPlane(Enum):
    """How agents speak with each other."""

    TLS = "tls"
    PLAINTEXT = "plaintext"


def _network(value: object) -> IPv4Network:
    allowed = "an IPv4 network such as 10.198.0.0/16, /8 to /28"
    if not isinstance(value, str):
        refuse(f"{told(value)} is not a network", allowed)
    try:
        network = IPv4Network(value, strict=True)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        refuse(str(error), allowed)
    if not 8 <= network.prefixlen <= 28:
        refuse(f"{network} has an unfit prefix length", allowed)
    if network.is_multicast or network.is_loopback or network.is_link_local or network.is_unspecified:
        refuse(f"{network} is not for hosts", allowed)
    return network


Network = Annotated[IPv4Network, PlainValidator(_network)]
Frequency = Annotated[int, frequency_khz("100 MHz", "10 GHz")]
OneWay = Annotated[int, duration_us("0 s", "60 s")]
RoundTrip = Annotated[int, duration_us("0 s", "120 s")]
Share = Annotated[float, share("0 %", "100 %")]
Rate = Annotated[int, rate_bit_per_s("8 kbit/s", "100 Gbit/s")]


class HostModel(StrictModel):
    """One host."""

    role: Role
    cores: list[Annotated[int, whole(0, MAX_CORE)]] | None = None
    memory: Annotated[int, size_bytes("16 MiB", "4096 GiB")] | None = None
    cpu_frequency: Frequency | None = None
    cpu_frequency_min: Frequency | None = None
    cpu_frequency_max: Frequency | None = None
    governor: Governor | None = None
    boost: Boolean | None = None
    smt: Boolean | None = None
    online_cores: Annotated[int, whole(1, MAX_CORE + 1)] | None = None
    cpu_quota: Annotated[float, number(0.01, MAX_CORE + 1)] | None = None
    cpu_period: Annotated[int, duration_us("10 ms", "1 s")] | None = None
    gpu: Boolean | None = None
    uplink_rate: Rate | None = None


class PacketsModel(StrictModel):
    """What may be asked of a link and, differently, of each of its directions; None where it is not asked."""

    jitter: RoundTrip | None = None
    distribution: Annotated[Distribution, one_of(Distribution)] | None = None
    loss: Share | None = None
    loss_correlation: Share | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    reorder_correlation: Share | None = None
    rate: Rate | None = None
    queue: Annotated[int, packets("1 packets", "10000000 packets")] | None = None


class DirectionModel(PacketsModel):
    """One direction, where it differs from what the link says."""

    delay: OneWay | None = None


class LinkModel(PacketsModel):
    """One link; exactly one of rtt, one_way and at_sender says what its jitter is the jitter of."""

    between: list[HostName]
    rtt: RoundTrip | None = None
    one_way: OneWay | None = None
    at_sender: RoundTrip | None = None
    forward: DirectionModel | None = None
    backward: DirectionModel | None = None
    shape_at: Annotated[ShapeAt, one_of(ShapeAt)] = ShapeAt.SENDER
    compensate: Boolean = False


class LabModel(StrictModel):
    """The embedded lab's address ranges, and what else its inventory holds."""

    management: Network
    data: Network
    data_plane: Annotated[DataPlane, one_of(DataPlane)] = DataPlane.TLS


class TestbedModel(StrictModel):
    """The whole file."""

    # Not a test class, whatever its name: pytest would try to collect it.
    __test__ = False

    name: Title
    hosts: dict[HostName, HostModel]
    links: list[LinkModel] = Field(default_factory=list)
    tcp: Annotated[TcpMode, one_of(TcpMode)] = TcpMode.KERNEL
    lab: LabModel | None = None
