"""Reading and writing wirefilter's settings; the tables are its own output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.errors import ProvisionError, SpecError
from slicebed.lab.wirefilter import WireSetting, parse_showinfo

TABLE = """\
0000 DATA END WITH '.'
WireFilter: bidirectional
Loss   L->R 0+0U   R->L 0+0U
Lburst L->R 0+0U   R->L 0+0U
Delay  L->R {left}   R->L {right}
Dup    L->R 0+0U   R->L 0+0U
Bandw  L->R {rate}   R->L {rate}
Speed  L->R 0+0U   R->L 0+0U
Noise  L->R 0+0U   R->L 0+0U
MTU    L->R 0     R->L 0   \n\
Cap.   L->R {buffer}   R->L {buffer}
Current Delay Queue size:   L->R 0      R->L 0   \n\
Fifoness TRUE
Waiting packets in delay queues 0
.
1000 Success
"""


def table(left: str = "0+0U", right: str | None = None, rate: str = "0+0U", buffer: str = "0+0U") -> str:
    return TABLE.format(left=left, right=right or left, rate=rate, buffer=buffer)


def test_both_directions_are_read_apart():
    reading = parse_showinfo(table("21.25+5.8U", "3+0U", rate="6.25e+06+0U"))
    assert reading.forward == WireSetting(21_250, 5_800, 50_000_000)
    assert reading.backward == WireSetting(3_000, 0, 50_000_000)


def test_a_fresh_wire_is_an_empty_setting():
    reading = parse_showinfo(table())
    assert reading.forward == reading.backward == WireSetting()
    assert reading.matches(WireSetting())


def test_one_direction_that_differs_is_a_difference():
    assert not parse_showinfo(table("20+0U", "20.001+0U")).matches(WireSetting(20_000))
    assert parse_showinfo(table("20+0U")).matches(WireSetting(20_000))


def test_a_buffer_that_differs_is_a_difference():
    wanted = WireSetting(20_000, rate_bit_per_s=8_000_000)
    assert wanted.buffer_bytes == 70_000
    assert parse_showinfo(table("20+0U", rate="1e+06+0U", buffer="70000+0U")).matches(wanted)
    assert not parse_showinfo(table("20+0U", rate="1e+06+0U")).matches(wanted)


def test_without_a_rate_nothing_is_ever_dropped():
    assert WireSetting(1_000_000, 5_000).buffer_bytes == 0


@given(
    delay_us=st.integers(0, 999_999), jitter_us=st.integers(0, 99_999), rate=st.none() | st.integers(8, 10_000_000_000)
)
def test_what_is_set_is_what_is_read(delay_us, jitter_us, rate):
    wanted = WireSetting(delay_us, jitter_us, rate)
    # "%g" is the form that wirefilter prints, exponents included.
    rows = {name: f"{value:g}+{by:g}U" for name, (value, by) in wanted.values().items()}
    reading = parse_showinfo(table(rows["delay"], rate=rows["bandwidth"], buffer=rows["chanbufsize"]))
    assert reading.matches(wanted)
    assert (reading.forward.delay_us, reading.forward.jitter_us) == (delay_us, jitter_us)
    if rate is not None:
        # wirefilter prints six digits.
        assert reading.forward.rate_bit_per_s == pytest.approx(rate, rel=1e-5, abs=8)


@pytest.mark.parametrize("text", ["", "1000 Success", table("x+0U"), table().replace("Bandw", "Width")])
def test_output_that_is_not_understood_is_an_error(text):
    with pytest.raises(ProvisionError, match="showinfo is not understood"):
        parse_showinfo(text)


@pytest.mark.parametrize("values", [(-1, 0, None), (0, -1, None), (0, 0, 0)])
def test_impossible_settings_are_refused(values):
    with pytest.raises(SpecError):
        WireSetting(*values)
