"""Hosts are used by one command at a time, whatever inventories call them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest

from slicebed.errors import ConflictError, MissingRequirementError
from slicebed.run.stream.desk import Desk, socket_path
from slicebed.run.taken import hosts_taken
from slicebed.testbed.inventory import InventoryHost


def host(number, name="edge", port=22):
    return {name: InventoryHost(name, f"10.0.0.{number}", port, "root", None, None, (), "podman")}


HOSTS = {**host(1, "client"), **host(2)}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_two_campaigns_do_not_share_hosts(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with (
        hosts_taken(inventory, HOSTS),
        pytest.raises(ConflictError, match="another slicebed command"),
        hosts_taken(inventory, HOSTS),
    ):
        pass
    with hosts_taken(inventory, HOSTS):
        pass


def test_who_finds_a_stream_on_the_hosts_is_told_how_to_end_it(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with hosts_taken(inventory, HOSTS), Desk(socket_path(inventory), lambda *_: {}):
        with pytest.raises(ConflictError) as refused, hosts_taken(inventory, HOSTS):
            pass
        assert str(refused.value) == f"{inventory}: a stream runs on these hosts; end it: slicebed stream --stop"


@contextmanager
def stream(inventory, hosts=HOSTS):
    with hosts_taken(inventory, hosts) as share, Desk(socket_path(inventory), lambda *_: {}):
        share()
        yield


def test_conditions_may_be_set_while_a_stream_runs_by_one_command_at_a_time(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with stream(inventory):
        for _ in range(2):
            with (
                hosts_taken(inventory, HOSTS, beside_stream=True),
                pytest.raises(ConflictError, match="another slicebed command"),
                hosts_taken(inventory, HOSTS, beside_stream=True),
            ):
                pass


@pytest.mark.parametrize("beside_stream", [False, True])
def test_while_conditions_are_being_set_nothing_begins_when_the_stream_ends(tmp_path, beside_stream):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with ExitStack() as apply:
        with stream(inventory):
            apply.enter_context(hosts_taken(inventory, HOSTS, beside_stream=True))
        with pytest.raises(ConflictError), hosts_taken(inventory, HOSTS, beside_stream=beside_stream):
            pass
    with hosts_taken(inventory, HOSTS, beside_stream=beside_stream):
        pass


def test_another_inventory_in_the_folder_is_nobodys_hindrance(tmp_path):
    one, other = tmp_path / "one.yml", tmp_path / "other.yml"
    for inventory in (one, other):
        inventory.write_text("all: {}")
    with (
        stream(one, host(1)),
        stream(other, host(2)),
        hosts_taken(one, host(1), beside_stream=True),
        hosts_taken(other, host(2), beside_stream=True),
    ):
        pass


def test_conditions_are_not_set_while_a_stream_begins(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with (
        hosts_taken(inventory, HOSTS),
        Desk(socket_path(inventory), lambda *_: {}),
        pytest.raises(ConflictError, match="another slicebed command"),
        hosts_taken(inventory, HOSTS, beside_stream=True),
    ):
        pass


def test_conditions_are_not_set_while_a_campaign_runs(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {}")
    with (
        hosts_taken(inventory, HOSTS),
        pytest.raises(ConflictError, match="another slicebed command"),
        hosts_taken(inventory, HOSTS, beside_stream=True),
    ):
        pass


@pytest.fixture
def two(tmp_path):
    inventories = tmp_path / "one.yml", tmp_path / "other.yml"
    for inventory in inventories:
        inventory.write_text("all: {}")
    return inventories


@pytest.mark.parametrize("beside_stream", [False, True])
def test_a_host_is_used_by_one_command_whatever_an_inventory_calls_it(two, beside_stream):
    one, other = two
    with hosts_taken(one, HOSTS):
        with pytest.raises(ConflictError) as refused, hosts_taken(other, host(2, "gpu"), beside_stream=beside_stream):
            pass
        assert str(refused.value).startswith(
            f"{other}: another slicebed command uses the host at 10.0.0.2:22, perhaps by another inventory; wait"
        )
        with hosts_taken(other, {**host(3), **host(2, "gpu", port=2222)}):
            pass
    with hosts_taken(other, host(2, "gpu")):
        pass


def test_a_host_on_which_a_stream_runs_is_not_used_by_another_inventory(two):
    one, other = two
    with stream(one), pytest.raises(ConflictError, match="host at"), hosts_taken(other, HOSTS, beside_stream=True):
        pass


def test_hosts_of_one_inventory_at_one_address_are_no_conflict(two):
    with hosts_taken(two[0], {**host(1, "client"), **host(1, "edge")}):
        pass


def test_where_no_lock_can_be_kept_is_said(two, tmp_path):
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(MissingRequirementError, match="no lock can be kept"), hosts_taken(two[0], HOSTS):
        pass
