"""Loss, duplicates and order of one direction, from what both ends counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.testbed.verify.expect import overtaking_share
from slicebed.testbed.verify.plan import LOSS_TOLERANCE, loss_tolerance
from slicebed.testbed.verify.statistics import share_estimate
from slicebed.testbed.verify.verdict import Quantity, link_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.testbed.verify.answers import ProbeAnswer
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.verdict import Verdict
    from slicebed_agent.host.wish import LinkCondition


@dataclass(frozen=True)
class Passage:
    """What went into one direction of a link and what came out, over one or more sessions.

    Attributes:
        name: the directed link.
        condition: what was asked of it.
        sent: packets that left.
        lost: those of which no copy arrived, the receiving host's own losses taken off.
        duplicates: further copies.
        train_received: different packets of the train that arrived.
        train_overtakings: those of them that arrived before one sent earlier.
    """

    name: str
    condition: LinkCondition
    sent: int
    lost: int
    duplicates: int
    train_received: int
    train_overtakings: int


def passages(link: LinkAsk, sessions: Sequence[ProbeAnswer], train: ProbeAnswer) -> tuple[Passage, Passage]:
    """Give both directions of a link from all its `sessions`, of which one is the `train`."""
    forward = Passage(
        name=link.name,
        condition=link.forward,
        sent=sum(each.sent for each in sessions),
        lost=sum(max(each.sent - each.forward_received - each.forward_overflowed, 0) for each in sessions),
        duplicates=sum(each.forward_duplicates for each in sessions),
        train_received=train.forward_received,
        train_overtakings=train.forward_overtakings,
    )
    backward = Passage(
        name=link.reverse_name,
        condition=link.backward,
        sent=sum(each.backward_sent for each in sessions),
        lost=sum(max(each.backward_sent - each.backward_received - each.backward_overflowed, 0) for each in sessions),
        duplicates=sum(each.backward_duplicates for each in sessions),
        train_received=train.backward_received,
        train_overtakings=train.backward_overtakings,
    )
    return forward, backward


def judge_passage(link: LinkAsk, passage: Passage, train_interval_us: int) -> list[Verdict]:
    """Judge one direction: its loss always, duplicates and order where they were asked for or seen.

    Jitter reorders by itself where packets do not wait for each other, so order is judged there only when it was asked.
    Nothing is judged of a way back that nothing entered, because the way there loses everything as asked.
    """
    condition = passage.condition
    if passage.sent == 0:
        return []
    verdicts = [_loss(link, passage)]
    if condition.duplicate or passage.duplicates:
        verdicts.append(_duplicates(link, passage))
    seen_unasked = passage.train_overtakings and not condition.jitter_us
    if passage.train_received and (condition.reorder or seen_unasked):
        verdicts.append(_order(link, passage, train_interval_us))
    return verdicts


def _loss(link: LinkAsk, passage: Passage) -> Verdict:
    condition = passage.condition
    # netem draws loss and duplicate for each packet: one that is lost and sent twice arrives once.
    expected = condition.loss * (1 - condition.duplicate)
    share = _Share(Quantity.LOSS, condition.loss, expected, passage.lost, passage.sent, condition.loss_correlation)
    return share.judge(link, passage.name)


def _duplicates(link: LinkAsk, passage: Passage) -> Verdict:
    condition = passage.condition
    hits = min(passage.duplicates, passage.sent)
    expected = condition.duplicate * (1 - condition.loss)
    return _Share(Quantity.DUPLICATE, condition.duplicate, expected, hits, passage.sent).judge(link, passage.name)


def _order(link: LinkAsk, passage: Passage, train_interval_us: int) -> Verdict:
    condition = passage.condition
    share = _Share(
        quantity=Quantity.REORDER,
        asked=condition.reorder,
        expected=overtaking_share(condition, train_interval_us) if condition.reorder else 0.0,
        hits=passage.train_overtakings,
        trials=passage.train_received,
        correlation=condition.reorder_correlation,
    )
    return share.judge(link, passage.name)


@dataclass(frozen=True)
class _Share:
    quantity: Quantity
    asked: float
    expected: float
    hits: int
    trials: int
    correlation: float = 0.0

    def judge(self, link: LinkAsk, name: str) -> Verdict:
        """Pass as the package's rules say: see `judge`."""
        estimate = share_estimate(self.hits, self.trials, self.correlation)
        tolerance = loss_tolerance(self.expected)
        near = abs(estimate.value - self.expected) <= tolerance
        inside = estimate.low <= self.expected <= estimate.high
        return link_verdict(
            link,
            name,
            self.quantity,
            estimate,
            asked=self.asked,
            expected=self.expected,
            tolerance=tolerance,
            passed=near or inside if self.expected else estimate.low <= LOSS_TOLERANCE,
            detail=f"{self.hits} of {self.trials}",
        )
