from __future__ import annotations

import pytest

from slicebed.errors import ProvisionError
from slicebed.testbed.verify.hosts import verify_hosts
from slicebed.testbed.verify.verdict import Quantity

AS_ASKED = (0.5, 0.49, 0.51, 0.5, 0.5, 0.49, 0.51, 0.5, 0.5, 0.5)
QUOTA = {"asked": 0.5, "shares": list(AS_ASKED), "processes": 1, "periods": 20, "throttled_periods": 20}


class Host:
    """Answers what its limits are."""

    def __init__(self, quota, processes=1):
        self.quota, self.processes = quota, processes

    def call(self, verb, request, timeout_s):
        assert (verb, request["host"]) == ("limits", "edge")
        held = {"memory_bytes": None, "cores": [0], "page_bytes": 4096}
        return {"cpu_quota": self.quota, **held, "processes": self.processes}


def judged(**changed):
    (verdict,) = verify_hosts({"edge": Host({**QUOTA, **changed})}, {"edge": {"workload": {"cpu_quota": 0.5}}})
    assert verdict.quantity is Quantity.CPU_QUOTA
    return verdict


def test_a_quota_is_judged_by_several_windows_with_their_interval():
    verdict = judged()
    assert verdict.passed
    assert verdict.samples == 10
    assert verdict.low < verdict.measured < verdict.high
    assert verdict.detail == "used up in 20 of 20 periods"


def test_a_contended_processor_is_said_to_be_what_is_short():
    verdict = judged(shares=[0.3, 0.5, 0.35, 0.4, 0.38], throttled_periods=4)
    assert not verdict.passed
    assert verdict.high - verdict.low > 0.1
    assert verdict.detail.startswith(
        "used up in 4 of 20 periods; the limit is as asked, but the processor is contended"
    )
    assert "verify again while it rests" in verdict.detail
    assert "contended" in judged(shares=[0.3, 0.31], periods=0, throttled_periods=0).detail


def test_limits_that_nothing_runs_under_are_told():
    asked = {"edge": {"workload": {"cores": [0]}}}
    (verdict,) = verify_hosts({"edge": Host(QUOTA, processes=0)}, asked)
    assert verdict.passed
    assert verdict.detail == "nothing runs under it yet: slicebed deploy starts the agent there"
    (verdict,) = verify_hosts({"edge": Host(QUOTA)}, asked)
    assert verdict.detail == ""


def test_a_wrong_limit_is_told_from_a_contended_processor():
    wrong = judged(asked=0.4, shares=[0.4, 0.4, 0.4])
    assert not wrong.passed
    assert "the kernel holds a limit of 0.4: run slicebed apply again" in wrong.detail
    lifted = judged(asked=None, shares=[1.0, 0.99], periods=0, throttled_periods=0)
    assert not lifted.passed
    assert lifted.detail.startswith("the kernel holds no limit")
    assert "contended" not in wrong.detail + lifted.detail


def test_a_limit_that_is_always_used_up_yet_short_was_shared_inside_the_group():
    verdict = judged(shares=[0.3, 0.3, 0.31], throttled_periods=19)
    assert not verdict.passed
    assert "other processes in the workload's group" in verdict.detail


@pytest.mark.parametrize(
    "wrong", [{"shares": [0.5]}, {"shares": None}, {"throttled_periods": 21}, {"asked": "0.5"}, {"periods": -1}]
)
def test_an_account_that_cannot_be_is_refused(wrong):
    with pytest.raises(ProvisionError, match=r"^edge: .*bring the hosts up to date"):
        judged(**wrong)


def test_a_host_of_another_version_is_to_be_brought_up_to_date():
    with pytest.raises(ProvisionError, match=r"^edge: cpu_quota is 0\.39; bring the hosts up to date"):
        verify_hosts({"edge": Host(0.39)}, {"edge": {"workload": {"cpu_quota": 0.5}}})
