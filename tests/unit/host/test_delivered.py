from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.delivered import DeliveredQuota, _held, _processor_s, read_throttling, sample_shares

V1_STAT = "nr_periods 20\nnr_throttled 17\nthrottled_time 900000000\n"
V2_STAT = (
    "usage_usec 5\nuser_usec 4\nsystem_usec 1\nnr_periods 20\nnr_throttled 17\nthrottled_usec 900000\nnr_bursts 0\n"
)


class Machine:
    """A clock that every sleep moves a little too far, and a group that uses its quota up first in each period."""

    def __init__(self, quota_s, period_s, now_s=3.21):
        self.quota_s, self.period_s, self.now_s = quota_s, period_s, now_s

    def sleep(self, seconds):
        self.now_s += seconds + 0.0002

    def used_s(self):
        whole, part = divmod(self.now_s, self.period_s)
        return whole * self.quota_s + min(part, self.quota_s)

    def shares(self, seconds):
        return sample_shares(self.used_s, seconds, self.period_s, clock=lambda: self.now_s, sleep=self.sleep)


@pytest.mark.parametrize(
    ("period_s", "seconds", "windows"), [(0.1, 2.0, 10), (0.1, 0.5, 5), (0.1, 0.02, 2), (0.01, 2.0, 10), (1.0, 2.0, 2)]
)
def test_every_window_of_a_limit_in_force_shows_the_limit(period_s, seconds, windows):
    machine = Machine(0.4 * period_s, period_s)
    began = machine.now_s
    shares = machine.shares(seconds)
    assert len(shares) == windows
    assert shares == pytest.approx([0.4] * windows, abs=0.005)
    assert machine.now_s - began == pytest.approx(max(seconds, 2 * period_s), abs=0.001)


@pytest.mark.parametrize("text", [V1_STAT, V2_STAT])
def test_throttling_is_read_from_both_versions_of_control_groups(tmp_path, text):
    (tmp_path / "cpu.stat").write_text(text)
    assert read_throttling(tmp_path) == (20, 17)


def test_a_group_without_a_quota_has_no_periods(tmp_path):
    assert read_throttling(tmp_path) == (0, 0)
    (tmp_path / "cpu.max").write_text("max 50000\n")
    assert _held(tmp_path) == (None, 0.05)


@pytest.mark.parametrize(
    "files", [{"cpu.max": "50000 100000\n"}, {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}]
)
def test_the_limit_in_force_is_read_with_its_period(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _held(tmp_path) == (0.5, 0.1)


def test_processor_time_is_finer_than_a_tick_and_a_process_that_ended_is_one_line():
    assert _processor_s(os.getpid()) % 0.01 != 0
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
        pass
    with pytest.raises(HostError, match="cpu_quota: a busy process came to an end"):
        _processor_s(child.pid)


def test_the_share_is_the_mean_of_the_windows_and_json_holds_them_all():
    found = DeliveredQuota(0.5, (0.4, 0.5), 1, 20, 17)
    assert found.share == pytest.approx(0.45)
    assert found.to_plain() == {
        "asked": 0.5, "shares": (0.4, 0.5), "processes": 1, "periods": 20, "throttled_periods": 17,
    }  # fmt: skip
