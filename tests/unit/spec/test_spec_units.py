from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.errors import SpecError
from slicebed.spec import units


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_duration_us, "2.5 ms", 2_500),
        (units.parse_duration_us, "1 s", 1_000_000),
        (units.parse_duration_us, "21 us", 21),
        (units.parse_duration_us, "21us", 21),
        (units.parse_rate_bit_per_s, "100 Mbit/s", 100_000_000),
        (units.parse_rate_bit_per_s, "1 Gbit/s", 1_000_000_000),
        (units.parse_rate_bit_per_s, "0.5 kbit/s", 500),
        (units.parse_size_bytes, "500000 B", 500_000),
        (units.parse_size_bytes, "2 GiB", 2_147_483_648),
        (units.parse_size_bytes, "50 kB", 50_000),
        (units.parse_frequency_khz, "2.4 GHz", 2_400_000),
        (units.parse_frame_rate_per_s, "10 frame/s", 10.0),
        (units.parse_share, "0.1 %", 0.001),
        (units.parse_share, "100%", 1.0),
        (units.parse_packets, "1000 packets", 1_000),
        (units.parse_packets, "1 packet", 1),
        (units.parse_frame_rate_per_s, "0.5 frame/s", 0.5),
    ],
)
def test_quantities(parse, text, value):
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_duration_us, "2.5"),
        (units.parse_duration_us, 2.5),
        (units.parse_duration_us, None),
        (units.parse_duration_us, True),
        (units.parse_duration_us, ["1 s"]),
        (units.parse_duration_us, ""),
        (units.parse_duration_us, "ms"),
        (units.parse_duration_us, "1  s"),
        (units.parse_duration_us, "1e3 ms"),
        (units.parse_duration_us, "1 MS"),
        (units.parse_duration_us, "1 s s"),
        (units.parse_duration_us, "\u0661 s"),
        (units.parse_duration_us, "0.1 us"),
        (units.parse_duration_us, "9" * 400 + " s"),
        (units.parse_rate_bit_per_s, "100 mbit/s"),
        (units.parse_rate_bit_per_s, "100 MB/s"),
        (units.parse_size_bytes, "50 KB"),
        (units.parse_frame_rate_per_s, "10 Hz"),
        (units.parse_share, "0.1"),
        (units.parse_share, 0.1),
        (units.parse_share, "% 5"),
        (units.parse_packets, "10 kB"),
        (units.parse_packets, "1.5 packets"),
    ],
)
def test_refused_quantities_name_what_is_allowed(parse, text):
    with pytest.raises(SpecError, match="allowed: a number and one of ") as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.integers(min_value=0, max_value=10**12), st.sampled_from(sorted(units.DURATION.units)))
def test_every_whole_duration_is_read_exactly(number, unit):
    assert units.parse_duration_us(f"{number} {unit}") == number * units.DURATION.units[unit]


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text):
    for dimension in (
        units.DURATION,
        units.RATE,
        units.SIZE,
        units.FREQUENCY,
        units.FRAME_RATE,
        units.SHARE,
        units.PACKETS,
    ):
        with suppress(units.UnitError):
            dimension.parse(text)


@pytest.mark.parametrize(
    ("duration_us", "shown"),
    [(0, "0 us"), (999, "999 us"), (1_061, "1.061 ms"), (2_500, "2.5 ms"), (60_000_000, "60 s")],
)
def test_a_shown_duration_can_be_read_again(duration_us, shown):
    assert units.shown_us(duration_us) == shown
    assert units.parse_duration_us(shown) == duration_us
