"""The shipped testbeds are the published tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slicebed.spec.experiment import load_experiment
from slicebed.spec.testbed import Host, load_testbed

ROOT = Path(__file__).parents[3]
TESTBEDS = ROOT / "inventory" / "testbeds"
COUPER = ROOT / "results" / "reference" / "couper"
EDGES = {
    "low": "low-end edge",
    "mid": "mid-end edge",
    "high": "high-end edge",
    "super_high": "super-high-end edge",
}


def _has_the_hardware_of(host: Host, row) -> bool:
    published = (row["cpu_ghz"] * 1e6, row["cpu_processors"], row["ram_gb"] * 1e9, isinstance(row["gpu"], str))
    return (host.cpu_frequency_khz, host.online_cores, host.memory_bytes, host.gpu) == published


def test_couper_table_2():
    testbed = load_testbed(TESTBEDS / "couper_table3.yml")
    for row in pd.read_csv(COUPER / "table2_machines.csv").to_dict("records"):
        assert _has_the_hardware_of(testbed.host(row["machine"]), row)


@pytest.mark.parametrize("name", ["couper_table3", "lab_couper"])
def test_couper_table_3(name):
    testbed = load_testbed(TESTBEDS / f"{name}.yml")
    rows = pd.read_csv(COUPER / "table3_network.csv").to_dict("records")
    assert len(testbed.links) == len(rows)
    for row in rows:
        link = testbed.link(*row["link"].split("-"))
        assert link.asked.rtt_us == round(row["rtt_ms"] * 1_000)
        assert link.asked.rtt_jitter_us == round(row["jitter_ms"] * 1_000)
        rate = round(row["throughput_mbit_per_s"] * 1e6)
        assert (link.asked.forward_rate_bit_per_s, link.asked.backward_rate_bit_per_s) == (rate, rate)


@pytest.mark.parametrize("name", EDGES)
def test_couper_table_4(name):
    testbed = load_testbed(TESTBEDS / f"couper_table4_{name}.yml")
    rows = {row["configuration"]: row for row in pd.read_csv(COUPER / "table4_configurations.csv").to_dict("records")}
    edge = rows[EDGES[name]]
    assert _has_the_hardware_of(testbed.host("client"), rows["client"])
    assert _has_the_hardware_of(testbed.host("cloud"), rows["cloud"])
    assert _has_the_hardware_of(testbed.host("edge"), edge)
    assert testbed.link("client", "edge").asked.rtt_us == edge["rtt_to_client_ms"] * 1_000
    assert testbed.link("edge", "cloud").asked.rtt_us == edge["rtt_to_cloud_ms"] * 1_000


@pytest.mark.parametrize("name", ["low", "mid", "high"])
def test_couper_table_4_scaled_to_the_lab(name):
    testbed, published, table_3 = (
        load_testbed(TESTBEDS / f"{each}.yml")
        for each in (f"lab_table4_{name}", f"couper_table4_{name}", "couper_table3")
    )
    for a, b in (("client", "edge"), ("edge", "cloud")):
        assert testbed.link(a, b).asked.rtt_us == published.link(a, b).asked.rtt_us
        assert testbed.link(a, b).forward.jitter_us == 0
    whole_us = sum(testbed.link(a, b).asked.rtt_us for a, b in (("client", "edge"), ("edge", "cloud")))
    assert testbed.link("client", "cloud").asked.rtt_us == whole_us
    for link in testbed.links:
        assert link.forward.rate_bit_per_s == table_3.link(link.a, link.b).forward.rate_bit_per_s
    for host, scale in (("edge", 20), ("cloud", 40)):
        there, here = published.host(host), testbed.host(host)
        processors = there.online_cores * there.cpu_frequency_khz / 3_100_000
        assert here.cpu_quota == pytest.approx(processors / scale, abs=0.005)
        assert here.cpu_period_us == 10_000
    assert testbed.host("edge").cpu_quota + testbed.host("cloud").cpu_quota <= 2


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_dnn_slicing_links_are_those_of_the_experiments_configuration(number):
    testbed = load_testbed(TESTBEDS / f"dnn_slicing_{number}.yml")
    for asked in load_experiment(ROOT / "experiments" / "dnn_slicing.yml").configuration(number).links():
        link = testbed.link(asked.a, asked.b)
        assert link.forward == link.backward
        assert link.forward.delay_us == asked.delay_us
