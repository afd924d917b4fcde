"""The other clock's offset: never further off than the bound says, whatever the ways and the drift."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.pipeline.clock import Exchange, OffsetFilter
from slicebed_agent.pipeline.goodput import Goodput, believed

MS, S = 1_000_000, 1_000_000_000


def exchange(begin, offset, out, taken, back):
    return Exchange(begin, begin + out + offset, begin + out + taken + offset, begin + out + taken + back)


ways = st.tuples(st.integers(0, 500 * MS), st.integers(0, 50 * MS), st.integers(0, 500 * MS))


@given(
    offset=st.integers(-(10**18), 10**18), drift_ppm=st.floats(-99, 99), each=st.lists(ways, min_size=1, max_size=40)
)
def test_the_offset_is_within_its_bound(offset, drift_ppm, each):
    found = OffsetFilter()
    for number, (out, taken, back) in enumerate(each):
        begin = number * 250 * MS
        found.add(exchange(begin, offset + int(begin * drift_ppm / 1e6), out, taken, back))
    now = len(each) * 250 * MS + S
    known = found.at(now)
    true = offset + int(now * drift_ppm / 1e6)
    # While an exchange is under way the clocks part too, by less than this.
    slack = 2 * S * 100 // 1_000_000
    assert abs(known.offset_ns - true) <= known.bound_ns + slack
    assert known.round_trip_ns == min(out + back for out, _, back in each)


def test_the_quickest_exchange_decides():
    found = OffsetFilter()
    assert found.at(0) is None
    found.add(exchange(0, 7 * S, 40 * MS, MS, 2 * MS))
    found.add(exchange(S, 7 * S, 3 * MS, MS, 2 * MS))
    found.add(exchange(2 * S, 7 * S, 2 * MS, MS, 90 * MS))
    known = found.at(2 * S + 93 * MS)
    assert abs(known.offset_ns - 7 * S) == MS // 2
    assert known.round_trip_ns == 5 * MS


def test_an_old_exchange_gives_way_to_a_younger_one():
    found = OffsetFilter()
    found.add(exchange(0, 0, MS, 0, MS))
    assert found.at(2 * MS).bound_ns == MS
    assert found.at(30 * S + 2 * MS).bound_ns == MS + 3 * MS
    found.add(exchange(61 * S, 5 * MS, 10 * MS, 0, 10 * MS))
    known = found.at(61 * S + 20 * MS)
    assert (known.offset_ns, known.round_trip_ns) == (5 * MS, 20 * MS)


def test_an_exchange_that_contradicts_itself_is_ignored():
    found = OffsetFilter()
    found.add(Exchange(10, 5, 4, 20))
    found.add(Exchange(10, 5, 6, 9))
    assert found.at(0) is None


# Goodput: 5 MB over 50 Mbit/s take 800 ms, and the news of their arrival one round trip more than nothing.

RATE, SIZE, TRIP = 50_000_000, 5_000_000, 42 * MS
TAKES = SIZE * 8 * S // RATE


def test_goodput_of_single_transfers_is_the_rate_of_the_link():
    goodput = Goodput()
    assert goodput.rate_bit_per_s() == 0
    for number in range(6):
        begin = number * 3 * S
        goodput.began(number, begin, SIZE)
        goodput.received(number, begin + TAKES + TRIP, TRIP)
    assert goodput.rate_bit_per_s() == RATE


def test_goodput_of_transfers_that_wait_for_each_other_is_the_rate_too():
    """Buffers take the second frame while the first is still on the wire."""
    goodput = Goodput()
    for number in range(4):
        goodput.began(number, number * 10 * MS, SIZE)
    for number in range(4):
        goodput.received(number, (number + 1) * TAKES + TRIP, TRIP)
    assert goodput.rate_bit_per_s() == RATE


def test_goodput_follows_a_link_that_changed_and_forgets_what_was_lost():
    goodput = Goodput()
    for number, takes in enumerate([TAKES] * 4 + [10 * TAKES] * 4):
        goodput.began(number, number * 100 * S, SIZE)
        goodput.received(number, number * 100 * S + takes + TRIP, TRIP)
    assert goodput.rate_bit_per_s() == RATE // 10
    goodput.began(99, 900 * S, SIZE)
    goodput.lost()
    goodput.received(99, 990 * S, TRIP)
    assert goodput.rate_bit_per_s() == RATE // 10


@pytest.mark.parametrize(
    ("asked", "measured", "found"),
    [(50, 0, 50), (50, 48, 50), (50, 90, 50), (50, 20, 20), (0, 30, 30), (0, 0, 0)],
)
def test_what_the_testbed_says_of_a_link_is_believed_until_much_less_crosses(asked, measured, found):
    assert believed(asked, measured) == found
