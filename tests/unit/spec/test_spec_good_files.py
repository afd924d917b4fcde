from __future__ import annotations

import json
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from bad_files import EXPERIMENT, TESTBED

from slicebed.spec.experiment import HostCondition, load_experiment
from slicebed.spec.models import LAYER_KINDS, cut_title
from slicebed.spec.testbed import DataPlane, Host, LabNetworks, Link, load_testbed
from slicebed_agent.host.wish import LinkCondition

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "results" / "reference" / "dnn_slicing"


def test_testbed_is_read_into_base_units(tmp_path):
    path = tmp_path / "testbed.yml"
    path.write_text(TESTBED, encoding="utf-8")
    testbed = load_testbed(path)
    assert testbed.hosts == (
        Host("client", "client", 0, cores=(0,), memory_bytes=2 << 30),
        Host("edge", "edge", 1, cpu_frequency_khz=2_400_000),
        Host("cloud", "cloud", 2),
    )
    assert testbed.links == (
        Link("client", "edge", LinkCondition(1_000, 71), LinkCondition(1_000, 71)),
        Link("edge", "cloud", *2 * [LinkCondition(21_000, rate_bit_per_s=100_000_000)]),
    )
    assert testbed.lab == LabNetworks(IPv4Network("10.199.0.0/24"), IPv4Network("10.198.0.0/16"))
    assert testbed.link("cloud", "edge") == testbed.links[1]
    assert testbed.link("client", "cloud") is None


def test_hosts_without_limits_links_or_lab(tmp_path):
    path = tmp_path / "testbed.yml"
    path.write_text("name: one\nhosts: {solo: {role: anything}}\n", encoding="utf-8")
    testbed = load_testbed(path)
    assert testbed.hosts == (Host("solo", "anything", 0),)
    assert testbed.links == ()
    assert testbed.lab is None


def test_experiment_is_read_into_base_units(tmp_path):
    (tmp_path / "testbed.yml").write_text(TESTBED, encoding="utf-8")
    path = tmp_path / "experiment.yml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    experiment = load_experiment(path)
    assert experiment.testbed.path == tmp_path / "testbed.yml"
    assert experiment.source.rate_per_s == 10.0
    assert experiment.queues.inbound_messages == 32
    assert [cut.points for cut in experiment.cuts] == [(1, 8), (3, 11)]
    assert experiment.cuts[1].slices(14) == ((1, 3), (4, 11), (12, 14))
    assert list(experiment.configurations[0].hosts) == ["client", "edge", "cloud"]
    assert experiment.configuration("1").hosts["client"] == HostCondition(10.0, 2_500, 500_000)


def test_configuration_follows_the_chain_not_the_file(tmp_path):
    (tmp_path / "testbed.yml").write_text(TESTBED, encoding="utf-8")
    path = tmp_path / "experiment.yml"
    client, edge, cloud = EXPERIMENT.splitlines()[-3:]
    path.write_text("\n".join([*EXPERIMENT.splitlines()[:-3], cloud, client, edge]), encoding="utf-8")
    configuration = load_experiment(path).configurations[0]
    assert list(configuration.hosts) == ["client", "edge", "cloud"]
    assert [(link.a, link.b) for link in configuration.links()] == [("client", "edge"), ("edge", "cloud")]


def test_paper_experiment_is_table_2():
    """The shipped experiment asks exactly what the paper's Table 2 gives."""
    experiment = load_experiment(ROOT / "experiments" / "dnn_slicing.yml")
    published = pd.read_csv(REFERENCE / "table2_configurations.csv")
    for row in published.to_dict("records"):
        host = {"device": "client"}.get(row["host"], row["host"])
        condition = experiment.configuration(str(row["configuration"])).hosts[host]
        assert condition.overhead_ratio == row["overhead_ratio"]
        assert condition.latency_us == row["latency_ms"] * 1_000
        assert condition.max_message_bytes == row["max_throughput_bytes"]
        assert experiment.frames == row["frames"]
    measured = pd.read_csv(REFERENCE / "table3_4_5_results.csv")
    assert [cut.label for cut in experiment.cuts] == list(dict.fromkeys(measured["split_layers"]))


def test_latency_counts_at_both_ends_of_a_link():
    experiment = load_experiment(ROOT / "experiments" / "dnn_slicing.yml")
    assert [link.delay_us for link in experiment.configuration("1").links()] == [5_000, 252_500]
    assert [link.rtt_us for link in experiment.configuration("3").links()] == [10_000, 2_005_000]


def test_a_configuration_sets_the_delays_of_its_chain_alone(tmp_path):
    text = TESTBED.replace("  - {between: [client", "  - {between: [client, cloud], rtt: 9 ms}\n  - {between: [client")
    (tmp_path / "testbed.yml").write_text(text, encoding="utf-8")
    (tmp_path / "experiment.yml").write_text(EXPERIMENT, encoding="utf-8")
    experiment = load_experiment(tmp_path / "experiment.yml")
    asked = experiment.configurations[0].asked_of(experiment.testbed)
    assert asked.link("client", "edge").forward == LinkCondition(5_000)
    assert asked.link("edge", "cloud").backward == LinkCondition(252_500)
    assert asked.link("client", "cloud").asked.rtt_us == 9_000
    assert asked.place_of_link("edge", "cloud") == experiment.testbed.place_of_link("edge", "cloud")


def test_layer_table_is_the_published_one():
    published = pd.read_csv(REFERENCE / "table1_model.csv")
    assert list(LAYER_KINDS["cnn14"]) == list(published["type"])
    rows = pd.read_csv(REFERENCE / "table3_4_5_results.csv")
    for row in rows.to_dict("records"):
        points = [int(point) for point in row["split_layers"].split("-")]
        assert cut_title("cnn14", points) == f"{row['device_edge_split']} - {row['edge_cloud_split']}"


@pytest.mark.parametrize("name", ["lab.yml", "lab_five.yml"])
def test_shipped_testbeds_link_their_hosts_in_a_chain(name):
    testbed = load_testbed(ROOT / "inventory" / "testbeds" / name)
    names = testbed.host_names
    assert all(testbed.link(a, b) for a, b in pairwise(names))
    assert testbed.lab is not None


def test_plain_experiment_is_json_and_keeps_units():
    plain = load_experiment(ROOT / "experiments" / "dnn_slicing.yml").to_plain()
    again = json.loads(json.dumps(plain))
    assert again["configurations"][2]["hosts"]["cloud"]["latency_us"] == 1_000_000
    assert again["order"]["seed"] == 20201123
    assert again["testbed"]["links"][0]["forward"]["delay_us"] == 0


def test_the_labs_agents_speak_tls_unless_asked_otherwise(tmp_path):
    path = tmp_path / "testbed.yml"
    path.write_text(TESTBED, encoding="utf-8")
    assert load_testbed(path).lab.data_plane is DataPlane.TLS
    path.write_text(TESTBED + "  data_plane: plaintext\n", encoding="utf-8")
    assert load_testbed(path).lab.data_plane is DataPlane.PLAINTEXT
