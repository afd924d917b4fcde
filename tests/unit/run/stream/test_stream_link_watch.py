"""What the timeline says of links: each break once, each opening once, also between two looks."""

from __future__ import annotations

import pytest

from slicebed.run.stream.figures import HostFigures, LinkFigures, StreamFigures
from slicebed.run.stream.link_watch import BROKEN, REOPENED, LinkWatch


def look(reconnects, *, connected):
    link = LinkFigures("edge", connected, 24.0, 0, None, 0.0, 0.0, 0.0, "raw", 0, 0, 0, 0, reconnects)
    return StreamFigures("1-8", 1.0, hosts=(HostFigures("client", link=link), HostFigures("edge")))


def open_(reconnects):
    return look(reconnects, connected=True)


def broken(reconnects):
    return look(reconnects, connected=False)


SILENT = StreamFigures("1-8", 1.0, hosts=(HostFigures("client", trouble="no answer"), HostFigures("edge")))


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([open_(0), open_(0)], []),
        ([open_(0), broken(0), broken(3), open_(4), open_(4)], [BROKEN, REOPENED]),
        ([open_(0), open_(1)], [BROKEN, REOPENED]),
        ([open_(0), broken(1), SILENT, broken(2)], [BROKEN]),
        # Its agent was prepared anew, and counts from nothing.
        ([open_(4), open_(0)], []),
        ([broken(0), open_(1)], [BROKEN, REOPENED]),
        ([open_(0), broken(1), open_(1)], [BROKEN, REOPENED]),
    ],
)
def test_a_break_and_an_opening_are_told_once(looks, said):
    watch = LinkWatch()
    assert [event for each in looks for event in watch.events(each)] == [(name, "client - edge") for name in said]
