"""Bad spec files as data: an edit of a good file, and the line that must come of it."""

from __future__ import annotations

from dataclasses import dataclass

TESTBED = """\
name: lab
hosts:
  client: {role: client, cores: [0], memory: 2 GiB}
  edge:
    role: edge
    cpu_frequency: 2.4 GHz
  cloud: {role: cloud}
links:
  - {between: [client, edge], rtt: 2 ms, jitter: 100 us}
  - {between: [edge, cloud], one_way: 21 ms, rate: 100 Mbit/s}
lab:
  management: 10.199.0.0/24
  data: 10.198.0.0/16
"""

EXPERIMENT = """\
name: trial
testbed: testbed.yml
model: cnn14
chain: [client, edge, cloud]
frames: 50
source: {rate: 10 frame/s, batch_size: 16, seed: 7, queue: 2}
queues: {inbound: 32, outbound: 4}
repeats: 2
order: {randomised: true, seed: 3}
cuts: ["1-8", "3-11"]
configurations:
  - name: 1
    hosts:
      client: {overhead_ratio: 10, latency: 2.5 ms, max_throughput: 500000 B}
      edge: {overhead_ratio: 5, latency: 2.5 ms, max_throughput: 500000 B}
      cloud: {overhead_ratio: 1, latency: 250 ms, max_throughput: 500000 B}
"""

_CONDITION = "overhead_ratio: 1, latency: 1 s, max_throughput: 1 kB"


@dataclass(frozen=True)
class Bad:
    """``old`` is replaced by ``new``; the only mistake stands at ``at`` and its line holds every one of ``says``."""

    label: str
    old: str
    new: str
    at: str
    says: tuple[str, ...]


BAD_EXPERIMENTS = (
    Bad(
        "unknown key", "frames: 50", "frames: 50\nframs: 5", "6:1", ('unknown key "frams"', 'mean "frames"', "repeats")
    ),
    Bad("unknown inner key", "queue: 2}", "queue: 2, que: 3}", "6:63", ('unknown key "que"', 'mean "queue"', "rate")),
    Bad("duplicate key", "repeats: 2", "repeats: 2\nframes: 9", "9:1", ('duplicate key "frames"', "line 5")),
    Bad("wrong unit", "latency: 250 ms", "latency: 250 MB", "16:43", ("latency", 'unit "MB"', "us, ms, s")),
    Bad("no unit", "latency: 250 ms", "latency: 250", "16:43", ("duration 250 has no unit", "us, ms, s")),
    Bad("rate without unit", "10 frame/s", "10", "6:16", ("rate", "has no unit", "10 frame/s")),
    Bad("wrong type", "frames: 50", "frames: many", "5:9", ('"many" is not a whole number', "1 to 1000000")),
    Bad("a fraction", "frames: 50", "frames: 50.5", "5:9", ("50.5 is not a whole number",)),
    Bad("a truth for a number", "repeats: 2", "repeats: true", "8:10", ("true is not a whole number",)),
    Bad("a list for a mapping", "{inbound: 32, outbound: 4}", "[32, 4]", "7:9", ("queues: a list is not a mapping",)),
    Bad("text for a list", "[client, edge, cloud]", "client", "4:8", ('chain: "client" is not a list',)),
    Bad("nothing", "model: cnn14", "model:", "3:1", ("unknown model nothing", "cnn14")),
    Bad("missing key", ", outbound: 4", "", "7:1", ('missing key "outbound"', "no fewer than inbound, outbound")),
    Bad("missing top key", "repeats: 2\n", "", "1:1", ('missing key "repeats"',)),
    Bad(
        "negative delay", "latency: 250 ms", "latency: -250 ms", "16:43", ('negative duration "-250 ms"', "0 s to 10 s")
    ),
    Bad("delay out of range", "latency: 250 ms", "latency: 11 s", "16:43", ("out of range", "0 s to 10 s")),
    Bad("below one microsecond", "latency: 250 ms", "latency: 0.5 us", "16:43", ("finer than 1 us",)),
    Bad(
        "throughput too low",
        "250 ms, max_throughput: 500000 B",
        "250 ms, max_throughput: 10 B",
        "16:67",
        ("1 kB to 16 MiB",),
    ),
    Bad(
        "overhead too high",
        "overhead_ratio: 10",
        "overhead_ratio: 1001",
        "14:32",
        ("1001 is out of range", "0 to 1000"),
    ),
    Bad("overhead negative", "overhead_ratio: 10", "overhead_ratio: -1", "14:32", ("-1 is out of range",)),
    Bad("no frames", "frames: 50", "frames: 0", "5:9", ("0 is out of range", "1 to 1000000")),
    Bad("split past the last layer", '"3-11"', '"3-15"', "10:15", ("split point 15", "past the last layer", "1 to 13")),
    Bad("no layer for the last host", '"3-11"', '"3-14"', "10:15", ("14", "no layer for the last host", "1 to 13")),
    Bad("split before the first layer", '"3-11"', '"0-11"', "10:15", ("split point 0", "before layer 1", "1 to 13")),
    Bad("edge cut first", '"3-11"', '"8-3"', "10:15", ("edge cut (3) is not after the client cut (8)", "increase")),
    Bad("the same cut point twice", '"3-11"', '"8-8"', "10:15", ("edge cut (8) is not after the client cut (8)",)),
    Bad("too few points", '"3-11"', '"3"', "10:15", ('cut "3" has 1 split point', "2 split points for the chain")),
    Bad("too many points", '"3-11"', '"3-8-11"', "10:15", ('cut "3-8-11" has 3 split points', "2 split points")),
    Bad("not a cut", '"3-11"', '"3,11"', "10:15", ('"3,11" is not a cut', '"1-8"')),
    Bad("a cut of numbers in a list", '"3-11"', "[3, 11]", "10:15", ("a list is not a cut", "list of names")),
    Bad("a name twice", '"3-11"', "[a/b, a/b]", "10:15", ('split point "a/b" is twice', "each once")),
    Bad("too few names", '"3-11"', "[dense]", "10:15", ('cut "dense" has 1 split point', "2 split points")),
    Bad("names given twice", '"1-8", "3-11"', "[a, b], [a, b]", "10:16", ('cut "a-b" is given twice',)),
    Bad("cut given twice", '"3-11"', '"1-8"', "10:15", ('cut "1-8" is given twice',)),
    Bad("no cuts", '["1-8", "3-11"]', "[]", "10:7", ("empty", "at least one")),
    Bad("unknown model", "cnn14", "cnn15", "3:8", ('unknown model "cnn15"', "cnn14")),
    Bad("near miss of a model", "cnn14", "ResNet50", "3:8", ('mean "resnet50_v2"', "mobilenet_v2", "a .keras file")),
    Bad(
        "no such model file", "cnn14", "models/net.pb", "3:8", ('no such file "models/net.pb"', "relative to this file")
    ),
    Bad("a model without a name", "cnn14", "{seed: 3}", "3:1", ('missing key "name"',)),
    Bad("unknown setting", "cnn14", "{name: cnn14, sed: 3}", "3:22", ('unknown key "sed"', 'mean "seed"', "weights")),
    Bad("seed of a model", "cnn14", "{name: cnn14, seed: -1}", "3:28", ("seed: -1 is out of range",)),
    Bad("shape of a frame", "cnn14", "{name: cnn14, input_shape: [0, 1]}", "3:36", ("0 is out of range", "1 to 65536")),
    Bad("an input that is no name", "cnn14", "{name: cnn14, input: 3}", "3:29", ("input: 3 is not a name",)),
    Bad("one input of several", "cnn14", "{name: cnn14, input: [a, {}]}", "3:33", ("a mapping is not a name",)),
    Bad("no input", "cnn14", "{name: cnn14, input: []}", "3:29", ("input: an empty list", "each once")),
    Bad("an input twice", "cnn14", "{name: cnn14, input: [a, a]}", "3:29", ('input: "a" is given twice', "each once")),
    Bad("two outputs", "cnn14", "{name: cnn14, output: [a, b]}", "3:30", ("output: a list is not a name",)),
    Bad("weights that are not there", "cnn14", "{name: cnn14, weights: w.npz}", "3:31", ('no such file "w.npz"',)),
    Bad(
        "weights and a seed",
        "cnn14",
        "{name: cnn14, weights: testbed.yml, seed: 3}",
        "3:44",
        ("seed besides weights", "one of the two"),
    ),
    Bad(
        "a seed for a file",
        "cnn14\nchain: [client, edge, cloud]\nframes: 50\nsource: {rate: 10 frame/s, batch_size: 16, seed: 7, queue: 2}"
        '\nqueues: {inbound: 32, outbound: 4}\nrepeats: 2\norder: {randomised: true, seed: 3}\ncuts: ["1-8", "3-11"]',
        "{name: testbed.yml, seed: 3}\nchain: [client, edge, cloud]\nframes: 50\n"
        "source: {rate: 10 frame/s, batch_size: 16, seed: 7, queue: 2}\nqueues: {inbound: 32, outbound: 4}\n"
        "repeats: 2\norder: {randomised: true, seed: 3}\ncuts: [[a, b]]",
        "3:28",
        ("seed of a model that brings its own weights",),
    ),
    Bad(
        "more digits than there are", "batch_size: 16", "batch_size: 360", "6:40", ("360 is more than", "from 1 to 359")
    ),
    Bad("unknown images", "queue: 2}", "queue: 2, images: cats}", "6:71", ('"cats" is not known', "digits, random")),
    Bad("host twice in chain", "[client, edge, cloud]", "[client, edge, cloud, edge]", "4:30", ("twice in the chain",)),
    Bad(
        "configuration lacks a host",
        EXPERIMENT.splitlines(keepends=True)[14],
        "",
        "13:5",
        ('no condition for host "edge"', "client, edge, cloud"),
    ),
    Bad(
        "configuration of a stranger",
        "      cloud: {",
        "      fog: {" + _CONDITION + "}\n      cloud: {",
        "16:7",
        ('unknown host "fog"', "client, edge, cloud"),
    ),
    Bad(
        "configuration twice",
        "configurations:\n",
        "configurations:\n  - {name: 1, hosts: {client: &c {" + _CONDITION + "}, edge: *c, cloud: *c}}\n",
        "13:11",
        ('configuration "1" is given twice',),
    ),
    Bad("no testbed", "testbed.yml", "other.yml", "2:10", ('no such file "other.yml"', "relative to this file")),
    Bad("tab", "  - name: 1", "\t- name: 1", "12:1", ("tab", "spaces")),
    Bad("not YAML", "chain: [client, edge, cloud]", "chain: [client, edge", "5:7", ("not YAML",)),
    Bad("a tag", "frames: 50", "frames: !!python/name:os.system 50", "5:9", ("tag", "without a tag")),
    Bad("two documents", "frames: 50", "---\nframes: 50", "5:1", ("not YAML", "another document")),
)

BAD_TESTBEDS = (
    Bad("unknown TCP", "lab:\n", "tcp: fast\nlab:\n", "11:6", ('tcp: "fast" is not', "kernel, streaming")),
    Bad(
        "duplicate host",
        "  cloud: {role: cloud}",
        "  cloud: {role: cloud}\n  edge: {role: edge}",
        "8:3",
        ('duplicate key "edge"', "line 4"),
    ),
    Bad(
        "host name",
        "  cloud: {role: cloud}",
        "  cloud: {role: cloud}\n  Fog_1: {role: edge}",
        "8:3",
        ('"Fog_1" is not a host name', "small letter"),
    ),
    Bad("missing role", "    role: edge\n", "", "4:3", ('missing key "role"',)),
    Bad("memory unit", "2 GiB", "2 Gib", "3:46", ('memory: unit "Gib"', "GiB")),
    Bad("core", "cores: [0]", "cores: [0, -1]", "3:37", ("-1 is out of range", "0 to 1023")),
    Bad("core twice", "cores: [0]", "cores: [0, 0]", "3:37", ("core 0 is given twice",)),
    Bad("no core", "cores: [0]", "cores: []", "3:33", ("empty", "at least one core")),
    Bad("self link", "[client, edge]", "[edge, edge]", "9:15", ('link from "edge" to itself', "two different hosts")),
    Bad(
        "two links for a pair",
        "[edge, cloud]",
        "[edge, client]",
        "10:15",
        ("second link between edge and client", "line 9"),
    ),
    Bad("unknown host in link", "[edge, cloud]", "[edge, fog]", "10:22", ('unknown host "fog"', "client, edge, cloud")),
    Bad("link of three", "[edge, cloud]", "[edge, cloud, client]", "10:15", ("between 3 hosts", "two hosts")),
    Bad("negative delay", "rtt: 2 ms", "rtt: -2 ms", "9:36", ('rtt: negative duration "-2 ms"', "0 s to 120 s")),
    Bad("rate unit", "100 Mbit/s", "100 MB/s", "10:52", ('rate: unit "MB/s"', "Mbit/s")),
    Bad("rate 0", "100 Mbit/s", "0 bit/s", "10:52", ('rate "0 bit/s" is out of range', "8 kbit/s to 100 Gbit/s")),
    Bad(
        "jitter over half the round trip",
        "jitter: 100 us",
        "jitter: 1.5 ms",
        "9:50",
        ("jitter 1.5 ms of the round trip is 1.061 ms each way, above the delay 1 ms there", "0 s to 1.414 ms"),
    ),
    Bad(
        "jitter over delay",
        "rate: 100 Mbit/s",
        "jitter: 22 ms",
        "10:54",
        ("jitter 22 ms is above the delay 21 ms", "0 s to 21 ms"),
    ),
    Bad(
        "jitter of one direction over its delay",
        "rate: 100 Mbit/s",
        "forward: {delay: 3 ms, jitter: 4 ms}",
        "10:77",
        ("jitter 4 ms is above the delay 3 ms",),
    ),
    Bad("no delay", "rtt: 2 ms, jitter: 100 us", "rate: 1 Gbit/s", "9:5", ("no delay", "rtt, one_way, at_sender")),
    Bad("two delays", "one_way: 21 ms", "one_way: 21 ms, rtt: 42 ms", "10:39", ("one_way besides rtt", "exactly one")),
    Bad(
        "round trip and a direction of its own",
        "jitter: 100 us",
        "backward: {delay: 1 ms}",
        "9:60",
        ("backward.delay besides rtt, which speaks for both", "with one_way only"),
    ),
    Bad(
        "both directions overrule the link",
        "rate: 100 Mbit/s",
        "rate: 1 Mbit/s, forward: {rate: 2 Mbit/s}, backward: {rate: 3 Mbit/s}",
        "10:52",
        ("rate is given for the link and rate again for both of its directions",),
    ),
    Bad("loss of everything and more", "rate: 100 Mbit/s", "loss: 101 %", "10:52", ('"101 %"', "0 % to 100 %")),
    Bad("loss without unit", "rate: 100 Mbit/s", "loss: 0.1", "10:52", ("share 0.1 has no unit", "0.1 %")),
    Bad(
        "correlation of nothing",
        "rate: 100 Mbit/s",
        "loss_correlation: 25 %",
        "10:64",
        ("loss_correlation without loss", "loss above 0 %"),
    ),
    Bad(
        "correlation of no reordering",
        "rate: 100 Mbit/s",
        "reorder_correlation: 25 %",
        "10:67",
        ("reorder_correlation without reorder",),
    ),
    Bad(
        "reorder without delay",
        "one_way: 21 ms, rate: 100 Mbit/s",
        "one_way: 0 s, reorder: 5 %",
        "10:53",
        ("reorder 5 % without a delay", "0 %, or a delay above 0 s"),
    ),
    Bad("queue 0", "rate: 100", "queue: 0 packets, rate: 100", "10:53", ("out of range", "1 packets to 10000000")),
    Bad(
        "distribution of no jitter",
        "rate: 100 Mbit/s",
        "distribution: pareto",
        "10:60",
        ("distribution without jitter", "jitter above 0 s"),
    ),
    Bad("queue without rate", "rate: 100 Mbit/s", "queue: 9 packets", "10:53", ("queue without rate",)),
    Bad("distribution", "100 us", "100 us, distribution: flat", "9:72", ('"flat" is not known', "normal, uniform")),
    Bad("shaped nowhere", "rate: 100 Mbit/s", "shape_at: cloud", "10:56", ('"cloud" is not known', "sender, receiver")),
    Bad("frequency", "2.4 GHz", "240 GHz", "6:20", ("out of range", "100 MHz to 10 GHz")),
    Bad(
        "frequencies the wrong way round",
        "cpu_frequency: 2.4 GHz",
        "cpu_frequency_min: 3 GHz\n    cpu_frequency_max: 2 GHz",
        "6:24",
        ("cpu_frequency_min 3000000 kHz is above cpu_frequency_max 2000000 kHz",),
    ),
    Bad(
        "frequency fixed and limited",
        "cpu_frequency: 2.4 GHz",
        "cpu_frequency: 2.4 GHz\n    cpu_frequency_max: 3 GHz",
        "7:24",
        ("cpu_frequency_max besides cpu_frequency",),
    ),
    Bad("no core online", "cores: [0]", "online_cores: 0", "3:40", ("0 is out of range", "1 to 1024")),
    Bad(
        "core that is offline",
        "cores: [0]",
        "cores: [2], online_cores: 2",
        "3:33",
        ("core 2 is not among the 2 online cores", "0 to 1"),
    ),
    Bad(
        "more time than cores",
        "cores: [0]",
        "cores: [0], cpu_quota: 1.5",
        "3:49",
        ("cpu_quota 1.5 is more than the 1 usable cores",),
    ),
    Bad("period of no quota", "cores: [0]", "cpu_period: 10 ms", "3:38", ("cpu_period without cpu_quota",)),
    Bad("period", "cores: [0]", "cpu_quota: 1, cpu_period: 1 ms", "3:52", ("out of range", "10 ms to 1 s")),
    Bad(
        "too little in a period",
        "cores: [0]",
        "cpu_quota: 0.03, cpu_period: 10 ms",
        "3:55",
        ("cpu_quota 0.03 of cpu_period 10 ms is less than 1 ms", "at least 33.334 ms"),
    ),
    Bad("no time", "cores: [0]", "cpu_quota: 0", "3:37", ("0 is out of range", "0.01")),
    Bad("governor", "cores: [0]", "governor: As fast as can be", "3:36", ("is not a governor", "performance")),
    Bad("boost", "cores: [0]", "boost: on", "3:33", ('"on" is neither true nor false',)),
    Bad("network with host bits", "10.199.0.0/24", "10.199.0.1/24", "12:15", ("management", "host bits")),
    Bad("networks overlap", "10.198.0.0/16", "10.199.0.0/16", "13:9", ("overlaps",)),
    Bad("no network", "10.198.0.0/16", "lan", "13:9", ("data", "IPv4 network")),
    Bad("unknown key in link", "jitter: 100 us", "jiter: 100 us", "9:42", ('unknown key "jiter"', 'mean "jitter"')),
    Bad("key that is no text", "name: lab", "name: lab\n? [a]\n: 1", "2:3", ("key is not text",)),
)
