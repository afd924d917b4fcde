"""Limits on loan: put back to what was wished before, whoever asks, also after whoever borrowed them has died."""

from __future__ import annotations

import json

import pytest
from conditions_drawer import Drawer

from slicebed_agent.errors import HostError
from slicebed_agent.host.conditions import Conditions
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.state import State

OWN = {"host": "edge", "workload": {"memory_bytes": 1000}}
SEARCHED = {"host": "edge", "cpu": {"governor": "performance"}, "workload": {"memory_bytes": 5}}
SEARCH = "small-20260101T000000Z"


class Host:
    """A machine that is a dictionary for each part; `again` is a process that knows only what is on disk."""

    def __init__(self, folder):
        self.folder = folder / "conditions"
        self._run = folder / "run"
        self.parts = {
            "cpu": Drawer("cpu", "cpu", {"governor": "powersave"}),
            "workload": Drawer("workload", "cgroup"),
            "network": Drawer("network", "eth0"),
        }

    @property
    def again(self):
        return Conditions(self.parts, State(self.folder), DeadMan(self._run))

    @property
    def machine(self):
        return {**self.parts["cpu"].machine, **self.parts["workload"].machine}


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_behind_a_search_the_limits_that_somebody_had_applied_are_there_again(host):
    host.again.apply(OWN)
    for memory in (5, 6):
        host.again.apply({**SEARCHED, "workload": {"memory_bytes": memory}}, on_loan_to=SEARCH)
    assert host.machine == {"governor": "performance", "memory_bytes": 6}
    assert {change.wanted for change in host.again.put_back().changes} == {"powersave", 1000}
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}
    assert host.again.summary()["wish"]["workload"] == {"memory_bytes": 1000}
    host.again.restore()
    assert host.machine == {"governor": "powersave"}
    assert not host.folder.exists()


def test_a_host_without_limits_of_its_own_goes_back_to_none_and_keeps_no_record(host):
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.again.put_back()
    assert host.machine == {"governor": "powersave"}
    assert not host.folder.exists()
    assert host.again.put_back().writes == 0


def test_who_comes_after_a_search_that_died_goes_back_to_what_was_before_the_first(host):
    host.again.apply(OWN)
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.again.apply({"host": "edge", "workload": {"memory_bytes": 7}}, on_loan_to="another")
    assert State(host.folder).loan()["by"] == "another"
    host.again.put_back()
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}


def test_the_loan_is_on_disk_before_the_first_change(host):
    seen = {}
    apply = host.parts["cpu"].apply

    def watched(plan):
        seen.update(json.loads((host.folder / "loan.json").read_text())["loan"])
        apply(plan)

    host.again.apply(OWN)
    host.parts["cpu"].apply = watched
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    assert seen == {"by": SEARCH, "before": {"cpu": None, "workload": {"memory_bytes": 1000}}}


def test_limits_that_somebody_applies_after_a_search_died_stay(host):
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.again.apply(OWN)
    host.again.put_back()
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}
    host.again.put_back()
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}


def test_what_somebody_restored_after_a_search_died_stays_restored(host):
    host.again.apply(OWN)
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.again.restore(["workload"])
    host.again.put_back()
    assert host.machine == {"governor": "powersave"}


def test_links_are_never_on_loan(host):
    host.again.apply({**SEARCHED, "network": {"uplink_bit_per_s": 8000}}, on_loan_to=SEARCH)
    host.again.put_back()
    assert host.parts["network"].machine == {"uplink_bit_per_s": 8000}
    assert host.machine == {"governor": "powersave"}


def test_links_that_are_set_meanwhile_end_no_loan(host):
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.again.apply({"host": "edge", "network": {"uplink_bit_per_s": 8000}})
    host.again.put_back()
    assert host.machine == {"governor": "powersave"}


def test_an_apply_that_was_refused_leaves_nothing_to_put_back(host):
    host.again.apply(OWN)
    host.parts["workload"].refuses = 5
    with pytest.raises(HostError, match="refused 5"):
        host.again.apply(SEARCHED, on_loan_to=SEARCH)
    assert host.again.put_back().writes == 0
    assert State(host.folder).loan() == {}
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}


def test_what_does_not_go_back_is_still_on_loan(host):
    host.again.apply(OWN)
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    host.parts["cpu"].refuses = "powersave"
    with pytest.raises(HostError, match="refused powersave"):
        host.again.put_back()
    host.parts["cpu"].refuses = None
    host.again.put_back()
    assert host.machine == {"governor": "powersave", "memory_bytes": 1000}


def test_a_damaged_loan_does_not_keep_a_host_from_being_restored(host):
    host.again.apply(SEARCHED, on_loan_to=SEARCH)
    (host.folder / "loan.json").write_text("{")
    with pytest.raises(HostError, match=r"loan\.json: cannot be read"):
        host.again.put_back()
    host.again.restore()
    assert host.machine == {"governor": "powersave"}
    assert not host.folder.exists()
