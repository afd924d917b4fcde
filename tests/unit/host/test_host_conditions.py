"""Conditions as a whole: saved before changed, undone when refused, restored from what is on disk."""

from __future__ import annotations

import json

import pytest
from conditions_drawer import Drawer

from slicebed_agent.errors import HostError
from slicebed_agent.host.conditions import Conditions, Connection
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.state import State


@pytest.fixture
def host(tmp_path):
    order: list[str] = []
    parts = {
        "cpu": Drawer("cpu", "cpu", {"governor": "powersave"}, order=order),
        "workload": Drawer("workload", "cgroup", order=order),
        "network": Drawer("network", "eth0", order=order),
    }
    return parts, Conditions(parts, State(tmp_path / "conditions"), DeadMan(tmp_path / "run"))


WISH = {"host": "edge", "cpu": {"governor": "performance"}, "workload": {"memory_bytes": 1000}}


def test_a_plan_says_what_apply_does_and_changes_nothing(host, tmp_path):
    parts, conditions = host
    planned = conditions.plan(WISH)
    assert [str(change) for change in planned.changes] == [
        "governor: value powersave -> performance",
        "memory_bytes: value - -> 1000",
    ]
    assert parts["cpu"].machine == {"governor": "powersave"}
    assert not (tmp_path / "conditions").exists()
    assert conditions.apply(WISH).changes == planned.changes


def test_a_second_apply_writes_nothing(host):
    _, conditions = host
    conditions.apply(WISH)
    assert conditions.apply(WISH).writes == 0
    assert conditions.drift().changes == ()


def test_restore_puts_back_what_the_first_apply_found_and_leaves_no_file(host, tmp_path):
    parts, conditions = host
    conditions.apply(WISH)
    conditions.apply({"host": "edge", "cpu": {"governor": "schedutil"}})
    restored = conditions.restore()
    assert parts["cpu"].machine == {"governor": "powersave"}
    assert parts["workload"].machine == {}
    assert len(restored.changes) == 2
    assert not (tmp_path / "conditions").exists()
    assert conditions.restore().changes == ()


def test_processors_come_before_links_and_go_back_after_them(host):
    parts, conditions = host
    conditions.apply({**WISH, "network": {"uplink_bit_per_s": 8000}})
    assert parts["cpu"].order == ["cpu", "workload", "network"]
    parts["cpu"].order.clear()
    conditions.restore()
    assert parts["cpu"].order == ["network", "workload", "cpu"]


def test_what_a_new_wish_no_longer_speaks_of_goes_back(host):
    parts, conditions = host
    conditions.apply({"host": "edge", "cpu": {"governor": "performance", "boost": True}})
    outcome = conditions.apply({"host": "edge", "cpu": {"boost": True}})
    assert [change.where for change in outcome.changes] == ["governor"]
    assert parts["cpu"].machine == {"governor": "powersave", "boost": True}


def test_a_part_that_is_not_wished_is_left_alone(host):
    parts, conditions = host
    conditions.apply(WISH)
    conditions.apply({"host": "edge", "workload": {"memory_bytes": 2000}})
    assert parts["cpu"].machine == {"governor": "performance"}
    conditions.restore(["workload"])
    assert parts["cpu"].machine == {"governor": "performance"}
    assert parts["workload"].machine == {}
    assert conditions.summary()["changed_parts"] == ["cpu"]
    assert "workload" not in conditions.summary()["wish"]


def test_a_refusal_in_a_later_part_undoes_the_earlier_ones(host):
    parts, conditions = host
    parts["workload"].refuses = 1000
    with pytest.raises(HostError, match="refused 1000"):
        conditions.apply(WISH)
    assert parts["cpu"].machine == {"governor": "powersave"}
    assert parts["workload"].machine == {}


def test_a_refusal_also_undoes_what_went_back_from_an_earlier_wish(host):
    parts, conditions = host
    conditions.apply({"host": "edge", "cpu": {"governor": "performance", "boost": True}})
    parts["workload"].refuses = 1000
    with pytest.raises(HostError, match="refused 1000"):
        conditions.apply({"host": "edge", "cpu": {"boost": True}, "workload": {"memory_bytes": 1000}})
    assert parts["cpu"].machine == {"governor": "performance", "boost": True}


def test_a_value_that_the_host_does_not_take_is_an_error_and_leaves_nothing(host):
    parts, conditions = host
    parts["workload"].forgets = "memory_bytes"
    with pytest.raises(HostError, match="did not take: memory_bytes: value - -> 1000"):
        conditions.apply(WISH)
    assert parts["cpu"].machine == {"governor": "powersave"}


def test_a_refused_apply_leaves_what_the_last_one_had_made_whatever_was_there_meanwhile(host):
    parts, conditions = host
    conditions.apply(WISH)
    parts["cpu"].machine["governor"] = "ondemand"
    parts["workload"].refuses = 2000
    with pytest.raises(HostError, match="refused 2000"):
        conditions.apply(
            {"host": "edge", "cpu": {"governor": "schedutil", "boost": True}, "workload": {"memory_bytes": 2000}}
        )
    assert parts["cpu"].machine == {"governor": "performance"}
    assert parts["workload"].machine == {"memory_bytes": 1000}
    assert conditions.drift().changes == ()


def test_a_part_that_cannot_be_undone_does_not_keep_the_others_and_both_reasons_are_told(host):
    parts, conditions = host
    parts["network"].refuses = 8000
    undo = parts["workload"].plan_restore

    def refusing(_):
        raise HostError("will not go")

    parts["workload"].plan_restore = refusing
    with pytest.raises(HostError, match="refused 8000; and going back failed: will not go; restore this host"):
        conditions.apply({**WISH, "network": {"uplink_bit_per_s": 8000}})
    assert parts["cpu"].machine == {"governor": "powersave"}
    parts["workload"].plan_restore = undo
    conditions.restore()
    assert parts["workload"].machine == {}


def test_a_timer_that_ends_at_once_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setattr("slicebed_agent.host.deadman.START_TIMEOUT_S", float("inf"))
    with pytest.raises(HostError, match="did not start"):
        DeadMan(tmp_path / "run").arm(1, "", tmp_path / "conditions")


def test_a_timer_outlives_an_undoing_that_fails(host, tmp_path, monkeypatch):
    parts, _ = host
    here = Connection("10.0.0.1 4000 10.0.0.2 22", frozenset({"eth0"}))
    dead_man = DeadMan(tmp_path / "run")
    conditions = Conditions(parts, State(tmp_path / "conditions"), dead_man, here)
    # The timer itself is tried in the lab; here it counts whether it still waits.
    monkeypatch.setattr(dead_man, "arm", lambda *_: dead_man.directory.mkdir() or dead_man._write({}) or "token")
    parts["network"].refuses = 8000
    parts["cpu"].refuses = "powersave"
    with pytest.raises(HostError, match="refused powersave"):
        conditions.apply({**WISH, "network": {"uplink_bit_per_s": 8000}})
    assert dead_man.is_running()
    parts["cpu"].refuses = None
    conditions.restore()
    assert not dead_man.is_running()
    assert parts["cpu"].machine == {"governor": "powersave"}


def test_a_part_that_does_not_go_back_does_not_keep_the_others(host):
    parts, conditions = host
    conditions.apply({**WISH, "network": {"uplink_bit_per_s": 8000}})
    parts["workload"].forgets = "memory_bytes"
    with pytest.raises(HostError, match="workload: not as it was before"):
        conditions.restore()
    assert parts["cpu"].machine == {"governor": "powersave"}
    assert conditions.summary()["changed_parts"] == ["workload"]


def test_a_machine_keeps_the_name_that_it_was_changed_under(host):
    _, conditions = host
    conditions.apply(WISH)
    with pytest.raises(HostError, match="under the name edge, not cloud"):
        conditions.apply({**WISH, "host": "cloud"})


def test_drift_names_what_somebody_changed(host):
    parts, conditions = host
    conditions.apply(WISH)
    parts["cpu"].machine["governor"] = "ondemand"
    (change,) = conditions.drift().changes
    assert (change.where, change.now, change.wanted) == ("governor", "ondemand", "performance")
    assert parts["cpu"].machine["governor"] == "ondemand"


def test_the_original_is_on_disk_before_the_first_change(host, tmp_path):
    parts, conditions = host
    seen = {}
    apply = parts["cpu"].apply

    def watched(plan):
        seen.update(json.loads((tmp_path / "conditions/original.json").read_text())["parts"])
        apply(plan)

    parts["cpu"].apply = watched
    conditions.apply(WISH)
    assert seen["cpu"] == {"governor": "powersave"}
    assert seen["workload"] == {"memory_bytes": None}


def test_the_record_of_the_original_holds_nothing_that_nobody_reads(host, tmp_path):
    _, conditions = host
    conditions.apply(WISH)
    assert set(json.loads((tmp_path / "conditions/original.json").read_text())) == {"version", "parts"}


def test_a_state_file_that_somebody_edited_is_named(host, tmp_path):
    _, conditions = host
    conditions.apply(WISH)
    (tmp_path / "conditions/original.json").write_text("{")
    with pytest.raises(HostError, match=r"original\.json: cannot be read"):
        conditions.restore()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"host": "edge", "gpu": True}, "wish.gpu: unknown key"),
        ({"host": "e/../x"}, "host: e/../x is not allowed"),
        ({"host": "edge", "cpu": {"online_cores": 0}}, "cpu.online_cores: 0 is not allowed"),
        ({"host": "edge", "network": {"links": [{"peer": "a", "peer_address": "10.0.0"}]}}, "not understood"),
        ({"host": "edge", "network": {"uplink_bit_per_s": 7}}, "7 is not allowed"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_with_its_place(host, wish, said):
    _, conditions = host
    with pytest.raises(HostError, match=said):
        conditions.plan(wish)


def test_only_an_act_on_the_interface_of_ssh_is_at_risk(host, tmp_path):
    parts, _ = host
    here = Connection("10.0.0.1 4000 10.0.0.2 22", frozenset({"eth0"}))
    conditions = Conditions(parts, State(tmp_path / "conditions"), DeadMan(tmp_path / "run"), here)
    assert not conditions.plan(WISH).at_risk
    assert conditions.plan({"host": "edge", "network": {"uplink_bit_per_s": 8000}}).at_risk


def test_a_damaged_wish_does_not_keep_a_host_from_going_back_and_goes_with_the_last_part(host, tmp_path):
    parts, conditions = host
    conditions.apply(WISH)
    (tmp_path / "conditions/wish.json").write_text("{")
    with pytest.raises(HostError, match=r"wish\.json: cannot be read"):
        conditions.drift()
    conditions.restore(["workload"])
    assert (tmp_path / "conditions/wish.json").read_text() == "{"
    conditions.restore()
    assert (parts["cpu"].machine, parts["workload"].machine) == ({"governor": "powersave"}, {})
    assert not (tmp_path / "conditions").exists()
