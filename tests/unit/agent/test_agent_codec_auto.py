"""AUTO picks by measured ratio and speed and by the link's rate, says why, and looks again when that changes."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.codec import decode
from slicebed_agent.codec.auto import Auto, Measured, choose
from slicebed_agent.codec.lossless import BITMAP, FULL
from slicebed_agent.pipeline.codecs import Codec

MBIT = 1_000_000


class Link:
    """What AUTO asks and tells, and a clock that only the test moves."""

    def __init__(self, rate):
        self.rate, self.now_s, self.lines = rate, 0.0, []
        self.encode = Auto(lambda: self.rate, self.lines.append, lambda: self.now_s)

    def frames(self, arrays, count, every_s=0.04, version=0):
        for _ in range(count):
            self.now_s += every_s
            payload = self.encode(arrays, version)
            assert all(np.array_equal(one, two) for one, two in zip(decode(payload), arrays, strict=True))
        return payload


def _relu(share=0.7, shape=(1, 56, 56, 96), seed=1):
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape).astype(np.float32)
    return (np.where(random.random(shape) < share, 0, np.abs(values)).astype(np.float32),)


def _figures(short, full):
    return {BITMAP: Measured(1_000_000, *short), FULL: Measured(1_000_000, *full)}


@pytest.mark.parametrize(
    ("rate", "picked"),
    [(0, None), (10 * MBIT, FULL), (50 * MBIT, FULL), (2000 * MBIT, BITMAP), (40_000 * MBIT, None)],
)
def test_the_faster_the_link_the_less_is_done(rate, picked):
    """1 MB: 160 ms at 50 Mbit/s, 4 ms at 2 Gbit/s, 0.2 ms at 40 Gbit/s."""
    choice = choose(_figures((500_000, 0.0005, 0.0008), (400_000, 0.003, 0.002)), rate)
    assert choice.picked == picked
    assert choice.rate_bit_per_s == rate


def test_the_reason_names_figures():
    figures = _figures((990_000, 0.0005, 0.0008), (830_000, 0.003, 0.002))
    assert choose(figures, 50 * MBIT).why == (
        "channels+bitmap+shuffle+zstd: 1.20 times shorter for 5.0 ms of work saves 22.2 of 160.0 ms at 50 Mbit/s"
    )
    assert choose(figures, 1000 * MBIT).why == (
        "raw: bitmap, 1.01 times shorter for 1.3 ms of work, would cost 1.2 ms on top of 8.0 ms at 1000 Mbit/s"
    )
    assert choose(figures, 0).why.startswith("raw: the testbed gives the link no rate")


def test_a_gain_within_noise_is_none():
    assert choose(_figures((980_000, 0.0001, 0.0001), (979_000, 0.001, 0.001)), 50 * MBIT).picked is None


def test_a_slow_link_gets_activations_shortened_and_one_line_that_says_so():
    link = Link(MBIT)
    payload = link.frames(_relu(), 10)
    assert payload.codec is Codec.LOSSLESS
    assert payload.size_bytes * 2 < _relu()[0].nbytes
    (line,) = link.lines
    assert (line["kind"], line["picked"], line["rate_bit_per_s"]) == ("codec", FULL.name, MBIT)
    assert line["tensors"] == ["float32 (1, 56, 56, 96)"]
    assert line["why"].startswith(FULL.name)
    assert [row["filter"] for row in line["candidates"]] == [BITMAP.name, FULL.name]
    assert all(row["ratio"] > 2 and row["encode_mb_s"] > 1 and row["decode_mb_s"] > 1 for row in line["candidates"])


def test_noise_and_an_unknown_link_get_raw():
    noise = (np.random.default_rng(3).integers(0, 1 << 32, 200_000, np.uint32),)
    assert Link(MBIT).frames(noise, 8).codec is Codec.RAW
    assert Link(0).frames(_relu(), 8).codec is Codec.RAW


def test_another_rate_changes_the_choice_after_a_second():
    link = Link(0)
    assert link.frames(_relu(), 8).codec is Codec.RAW
    link.rate = MBIT
    assert link.frames(_relu(), 30).codec is Codec.LOSSLESS
    link.rate = 1.2 * MBIT
    link.frames(_relu(), 30)
    link.rate = 10**12
    assert link.frames(_relu(), 30).codec is Codec.RAW
    assert [line["picked"] for line in link.lines] == ["raw", FULL.name, "raw"]


def test_raw_by_figures_takes_the_place_of_raw_for_want_of_a_rate():
    link = Link(0)
    link.frames(_relu(), 8)
    link.rate = 10**12
    assert link.frames(_relu(), 40).codec is Codec.RAW
    first, second = (line["why"] for line in link.lines)
    assert "no rate" in first
    assert "would cost" in second


def test_another_cut_of_the_same_shape_is_noticed():
    link = Link(MBIT)
    link.frames(_relu(), 8)
    noise = (np.random.default_rng(3).integers(0, 1 << 32, (1, 56, 56, 96), np.uint32).view(np.float32),)
    noise = (np.nan_to_num(noise[0], nan=1.0),)
    assert link.frames(noise, 40).codec is Codec.RAW
    assert link.frames(_relu(), 8, every_s=31).codec is Codec.LOSSLESS


def test_boundaries_are_judged_apart():
    link = Link(MBIT)
    for _ in range(8):
        link.frames(_relu(), 1)
        link.frames(_relu(shape=(2, 56, 56, 96)), 1)
    assert [line["tensors"] for line in link.lines] == [["float32 (1, 56, 56, 96)"], ["float32 (2, 56, 56, 96)"]]


def test_a_new_cut_is_another_boundary_though_its_shapes_are_the_same():
    link = Link(50 * MBIT)
    link.frames(_relu(), 10)
    link.frames(_relu(seed=2), 10, version=1)
    assert [line["boundary"] for line in link.lines] == [0, 1]
