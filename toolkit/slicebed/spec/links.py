"""What a testbed file asks of a link, as the conditions of its two directions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slicebed.spec.testbed_model import DirectionModel, PacketsModel
from slicebed.spec.units import shown_us
from slicebed_agent.host.wish import Distribution, LinkCondition, ShapeAt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.spec.document import Location
    from slicebed.spec.testbed_model import LinkModel

DELAY_KEYS = ("rtt", "one_way", "at_sender")
DIRECTIONS = ("forward", "backward")
# A correlation, and the share that it is the correlation of.
_CORRELATIONS = (("loss_correlation", "loss"), ("reorder_correlation", "reorder"))
# With at_sender nothing is held back on the way to a, so what needs a delay is not asked there.
_NEED_DELAY = ("jitter", "reorder", "reorder_correlation")


@dataclass(frozen=True)
class AskedRtt:
    """What a measurement over both directions of a link should find.

    Attributes:
        rtt_us: mean round-trip time.
        rtt_jitter_us: standard deviation of the round-trip time.
        forward_rate_bit_per_s: rate from a to b; None is not limited.
        backward_rate_bit_per_s: rate from b to a.
        loss: share of round trips lost on either way.
        duplicate: share of round trips answered more than once.
    """

    rtt_us: int
    rtt_jitter_us: int
    forward_rate_bit_per_s: int | None
    backward_rate_bit_per_s: int | None
    loss: float
    duplicate: float


@dataclass(frozen=True)
class Link:
    """A pair of hosts and the condition of each direction.

    Attributes:
        a: the end named first.
        b: the other end.
        forward: what packets from a to b meet.
        backward: what packets from b to a meet.
        shape_at: which end of each direction holds its packets back.
        compensate: whether the round-trip time found before shaping is subtracted from the delays.
    """

    a: str
    b: str
    forward: LinkCondition
    backward: LinkCondition
    shape_at: ShapeAt = ShapeAt.SENDER
    compensate: bool = False

    @property
    def pair(self) -> frozenset[str]:
        """Both ends, without an order."""
        return frozenset((self.a, self.b))

    @property
    def asked(self) -> AskedRtt:
        """What a measurement should find: delays add up, and so do the variances of the jitter."""
        forward, backward = self.forward, self.backward
        return AskedRtt(
            rtt_us=forward.delay_us + backward.delay_us,
            rtt_jitter_us=round(math.hypot(forward.jitter_us, backward.jitter_us)),
            forward_rate_bit_per_s=forward.rate_bit_per_s,
            backward_rate_bit_per_s=backward.rate_bit_per_s,
            loss=1 - (1 - forward.loss) * (1 - backward.loss),
            duplicate=1 - (1 - forward.duplicate) * (1 - backward.duplicate),
        )

    def direction(self, sender: str) -> LinkCondition:
        """The condition of the packets that ``sender``, one of the ends, sends; raises KeyError."""
        return {self.a: self.forward, self.b: self.backward}[sender]

    def to_plain(self) -> dict[str, object]:
        """As JSON holds it, every quantity in the unit its name gives."""
        return {
            "a": self.a,
            "b": self.b,
            "forward": condition_to_plain(self.forward),
            "backward": condition_to_plain(self.backward),
            "shape_at": self.shape_at.value,
            "compensate": self.compensate,
        }


@dataclass(frozen=True)
class LinkProblem:
    """A contradiction within one link: at which of its keys, what, and what would be allowed."""

    location: Location
    what: str
    allowed: str


def condition_to_plain(condition: LinkCondition) -> dict[str, object]:
    """A condition as JSON holds it and `slicebed_agent.host.wish.parse_wish` reads it."""
    return {**asdict(condition), "distribution": condition.distribution.value}


def make_link(model: LinkModel) -> Link:
    """The link of a model in which `find_contradictions` finds nothing."""
    return Link(
        a=model.between[0],
        b=model.between[1],
        forward=_condition(model, "forward"),
        backward=_condition(model, "backward"),
        shape_at=model.shape_at,
        compensate=model.compensate,
    )


def find_contradictions(model: LinkModel) -> list[LinkProblem]:
    """What the keys of a link, each right by itself, cannot mean together; one problem a key."""
    problems = list(_delay_problems(model)) or [
        *_repeated(model),
        *(problem for direction in DIRECTIONS for problem in _direction_problems(model, direction)),
    ]
    return list({problem.location: problem for problem in reversed(problems)}.values())[::-1]


def _override(model: LinkModel, direction: str) -> DirectionModel:
    return getattr(model, direction) or DirectionModel()


def _timing(model: LinkModel, direction: str) -> tuple[int, int]:
    """Delay and jitter of one direction, in microseconds."""
    own = _override(model, direction)
    jitter = model.jitter or 0
    if model.rtt is not None:
        # Variances add up, so each way has the jitter of the round trip divided by the square root of two.
        return (model.rtt + (direction == "forward")) // 2, round(jitter / math.sqrt(2))
    if model.at_sender is not None:
        return (model.at_sender, jitter) if direction == "forward" else (0, 0)
    delay = model.one_way if own.delay is None else own.delay
    return delay or 0, jitter if own.jitter is None else own.jitter


def _condition(model: LinkModel, direction: str) -> LinkCondition:
    own = _override(model, direction)

    def asked(name: str) -> float | None:
        inherits = not (model.at_sender is not None and direction == "backward" and name in _NEED_DELAY)
        inherited = getattr(model, name) if inherits else None
        value: float | None = getattr(own, name)
        return inherited if value is None else value

    delay_us, jitter_us = _timing(model, direction)
    return LinkCondition(
        delay_us=delay_us,
        jitter_us=jitter_us,
        distribution=own.distribution or model.distribution or Distribution.NORMAL,
        loss=asked("loss") or 0.0,
        loss_correlation=asked("loss_correlation") or 0.0,
        duplicate=asked("duplicate") or 0.0,
        reorder=asked("reorder") or 0.0,
        reorder_correlation=asked("reorder_correlation") or 0.0,
        rate_bit_per_s=own.rate or model.rate,
        queue_packets=own.queue or model.queue,
    )


def _delay_problems(model: LinkModel) -> Iterator[LinkProblem]:
    asked = [key for key in DELAY_KEYS if getattr(model, key) is not None]
    for key in asked[1:]:
        yield LinkProblem((key,), f"{key} besides {asked[0]}", f"exactly one of {', '.join(DELAY_KEYS)}")
    own = [direction for direction in DIRECTIONS if _override(model, direction).delay is not None]
    if not asked and len(own) < len(DIRECTIONS):
        allowed = f"exactly one of {', '.join(DELAY_KEYS)}, or a delay in both forward and backward; 0 ms is one"
        yield LinkProblem((), "the link has no delay", allowed)
    if asked and asked[0] != "one_way":
        for direction in DIRECTIONS:
            for key in ("delay", "jitter"):
                if getattr(_override(model, direction), key) is not None:
                    what = f"{direction}.{key} besides {asked[0]}, which speaks for both directions"
                    yield LinkProblem((direction, key), what, f"{key} of one direction with one_way only")


def _repeated(model: LinkModel) -> Iterator[LinkProblem]:
    """Keys of the link that both of its directions overrule, so that they never hold."""
    for key in (*PacketsModel.model_fields, "delay"):
        own = [getattr(_override(model, direction), key) for direction in DIRECTIONS]
        outer = "one_way" if key == "delay" else key
        if getattr(model, outer) is not None and None not in own:
            what = f"{outer} is given for the link and {key} again for both of its directions"
            yield LinkProblem((outer,), what, "the link, or forward and backward, not all three")


def _direction_problems(model: LinkModel, direction: str) -> Iterator[LinkProblem]:
    own, condition = _override(model, direction), _condition(model, direction)

    def at(key: str) -> Location:
        return (key,) if getattr(own, key) is None else (direction, key)

    if condition.jitter_us > condition.delay_us:
        yield _too_much_jitter(model, at("jitter"), condition)
    if condition.reorder and not condition.delay_us:
        what = f"reorder {100 * condition.reorder:g} % without a delay: no packet is held that could be overtaken"
        yield LinkProblem(at("reorder"), what, "0 %, or a delay above 0 s")
    for correlation, share in _CORRELATIONS:
        if getattr(condition, correlation) and not getattr(condition, share):
            yield LinkProblem(at(correlation), f"{correlation} without {share}", f"{share} above 0 %, or neither")
    varies = any(_condition(model, each).jitter_us for each in DIRECTIONS)
    if (own.distribution and not condition.jitter_us) or (model.distribution and not varies):
        yield LinkProblem(at("distribution"), "distribution without jitter", "jitter above 0 s, or neither")
    if condition.queue_packets and condition.rate_bit_per_s is None:
        yield LinkProblem(at("queue"), "queue without rate: no packet ever waits", "queue and rate, or neither")


def _too_much_jitter(model: LinkModel, location: Location, condition: LinkCondition) -> LinkProblem:
    if model.rtt is None:
        what = f"jitter {shown_us(condition.jitter_us)} is above the delay {shown_us(condition.delay_us)}"
        return LinkProblem(location, what, f"0 s to {shown_us(condition.delay_us)}")
    each_way_us = model.rtt // 2
    what = (
        f"jitter {shown_us(model.jitter or 0)} of the round trip is {shown_us(condition.jitter_us)} each way, "
        f"above the delay {shown_us(each_way_us)} there"
    )
    return LinkProblem(location, what, f"0 s to {shown_us(math.floor(each_way_us * math.sqrt(2)))}")
