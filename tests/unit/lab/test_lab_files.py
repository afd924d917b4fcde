"""The files of a lab host."""

from __future__ import annotations

from lab_testbeds import chain

from slicebed.lab.files import hosts_file, shadow_file, sshd_config
from slicebed.lab.layout import WireKind, plan_lab


def test_every_host_and_link_address_has_a_name(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b", "c"]), WireKind.TAP)
    names = dict(reversed(line.split()) for line in hosts_file(plan).splitlines())
    assert names["b"] == "10.219.0.3"
    assert names["b-to-c"] == "10.218.0.5"
    assert names["c-to-b"] == "10.218.0.6"


def test_no_password_of_the_parent_reaches_a_host():
    text = shadow_file("root:$6$secret:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    assert text == "root:*:19000:0:99999:7:::\nsshd:*:19000::::::\n"


def test_sshd_listens_on_the_management_network_only(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"]), WireKind.TAP)
    assert "ListenAddress 10.219.0.3\n" in sshd_config(plan.host("b"), "0" * 32)
