"""Bad `search:` sections as data: an edit of a good experiment, and the line that must come of it."""

from __future__ import annotations

from bad_files import Bad

SEARCH = """\
name: trial
testbed: testbed.yml
model: {name: InceptionV3, seed: 7}
chain: [client, edge, cloud]
frames: 12
source: {rate: 1 frame/s, batch_size: 1, seed: 7, queue: 2, images: random}
repeats: 2
order: {randomised: true, seed: 3}
placements:
  - {name: sliced, slices: [edge, cloud], cuts: couper}
search:
  method: [strongman, hybrid]
  objective:
    weights: {latency: 1, drop_rate: 2}
    scales: {latency: 100 ms, drop_rate: 10 %}
    limits: {drop_rate: 20 %, throughput: 0.5 frame/s, bytes: 4 MB}
  budget: 10
  models: [{name: InceptionV3, seed: 7}, {name: MobileNetV2, seed: 7}]
  testbeds: {low: low.yml, far: testbed.yml}
  codecs: [raw, lossless]
  knobs: {client.cores: [1], edge.frequency: [1.2 GHz, 2.4 GHz]}
  repeats: {at_least: 3, at_most: 6, until: 5 %}
  options: {comm-slim: {latency: 200 ms}, genetic: {population: 24, elite: 10 %, order: fast}}
  sites: [a.ini, b.ini]
"""

BAD_SEARCHES = (
    Bad("no mapping", SEARCH.partition("search:\n")[2], "", "11:1", ("search: nothing", "search: {}")),
    Bad("unknown key", "  budget: 10", "  budgt: 10", "17:3", ('unknown key "budgt"', 'mean "budget"', "objective")),
    Bad("unknown method", "[strongman, hybrid]", "[strongman, hybird]", "12:23", ('"hybird"', 'mean "hybrid"')),
    Bad("one unknown method", "[strongman, hybrid]", "best", "12:11", ('unknown method "best"', "strongman")),
    Bad("method twice", "[strongman, hybrid]", "[hybrid, hybrid]", "12:20", ('"hybrid" is given twice',)),
    Bad("no method", "[strongman, hybrid]", "[]", "12:11", ("method: an empty list", "at least one")),
    Bad("method of no name", "[strongman, hybrid]", "[a b]", "12:12", ('"a b" is not a name', "letters")),
    Bad("metric", "{latency: 1, drop_rate: 2}", "{latncy: 1}", "14:15", ('unknown key "latncy"', 'mean "latency"')),
    Bad(
        "a metric alone",
        SEARCH[SEARCH.index("\n    weights") : SEARCH.index("\n  budget")],
        " drop_rat",
        "13:14",
        ('"drop_rat" is no metric, did you mean "drop_rate"?', "throughput", "mapping with weights"),
    ),
    Bad("weight of nothing", "drop_rate: 2}", "drop_rate: 0}", "14:38", ("drop_rate: 0 is out of range", "0.001")),
    Bad("negative weight", "drop_rate: 2}", "drop_rate: -1}", "14:38", ("-1 is out of range",)),
    Bad("no scale", ", drop_rate: 10 %}", "}", "14:27", ("drop_rate is weighed without a scale", "scales: {drop_rate")),
    Bad(
        "scale of nothing",
        "scales: {latency: 100 ms,",
        "scales: {bytes: 1 MB, latency: 100 ms,",
        "15:14",
        ("a scale of bytes, which is not weighed", "latency, drop_rate"),
    ),
    Bad("scale without unit", "latency: 100 ms,", "latency: 100,", "15:23", ("duration 100 has no unit", "us, ms, s")),
    Bad(
        "scale of another unit", "drop_rate: 10 %}", "drop_rate: 10 ms}", "15:42", ('unit "ms" is not a unit of share',)
    ),
    Bad("scale 0", "latency: 100 ms,", "latency: 0 ms,", "15:23", ("out of range", "1 us to 3600 s")),
    Bad("limit over all", "drop_rate: 20 %", "drop_rate: 120 %", "16:25", ("out of range", "0 % to 100 %")),
    Bad("limit of a rate", "0.5 frame/s", "0.5", "16:43", ("frame rate 0.5 has no unit", "frame/s")),
    Bad(
        "limit of energy",
        SEARCH[SEARCH.index("bytes: 4 MB") : SEARCH.index("  options")],
        "energy: 1.5 kWh}\n",
        "16:64",
        ('unit "kWh" is not a unit of energy', "uJ, mJ, J"),
    ),
    Bad("no budget at all", "budget: 10", "budget: 0", "17:11", ("0 is out of range", "1 to 1000000")),
    Bad("no model", "[{name: InceptionV3, seed: 7}, {name: MobileNetV2, seed: 7}]", "[]", "18:11", ("an empty list",)),
    Bad("unknown model", "name: MobileNetV2", "name: MobileNetV3", "18:49", ('"MobileNetV3"', 'mean "mobilenet_v2"')),
    Bad("model twice", "name: MobileNetV2", "name: inception_v3", "18:42", ('model "inception_v3" is given twice',)),
    Bad(
        "seed and weights",
        "MobileNetV2, seed: 7",
        "MobileNetV2, seed: 7, weights: low.yml",
        "18:62",
        ("seed besides weights",),
    ),
    Bad(
        "cuts of another model",
        "cuts: couper",
        "cuts: [[mixed0]]",
        "18:42",
        ('cuts are listed of inception_v3, not of "mobilenet_v2"', "cuts: couper"),
    ),
    Bad("no such testbed", "low: low.yml", "low: lo.yml", "19:19", ('no such file "lo.yml"', "relative to this file")),
    Bad("no testbeds", "{low: low.yml, far: testbed.yml}", "{}", "19:13", ("an empty mapping", "at least one")),
    Bad("name of the own", "low: low.yml", "testbed: low.yml", "19:14", ('condition "testbed"', "another name")),
    Bad("other hosts", "low: low.yml", "low: pair.yml", "19:19", ("pair.yml has the hosts client, edge", "cloud")),
    Bad("another lab", "low: low.yml", "low: elsewhere.yml", "19:19", ("elsewhere.yml has another lab", "one lab")),
    Bad(
        "a limit in one",
        "low: low.yml",
        "low: limited.yml",
        "19:37",
        ("testbed.yml asks for no limit (cores, memory, cpu_quota) of cloud, which condition low sets", "in both"),
    ),
    Bad(
        "a governor in one",
        "far: testbed.yml",
        "far: governed.yml",
        "19:19",
        ("low.yml asks for no governor of cloud, which condition far sets", "would stay"),
    ),
    Bad("a link less", "low: low.yml", "low: unlinked.yml", "19:19", ("does not link edge and cloud",)),
    Bad("codec", "[raw, lossless]", "[raw, zip]", "20:17", ('"zip" is not known', "lossless")),
    Bad("codec twice", "[raw, lossless]", "[raw, raw]", "20:17", ('"raw" is given twice',)),
    Bad("knob", "edge.frequency", "edge.freqency", "21:30", ('knob "freqency"', 'mean "frequency"', "quota")),
    Bad("knob of a stranger", "edge.frequency", "egde.frequency", "21:30", ('host "egde"', 'mean "edge"')),
    Bad("knob of all", "edge.frequency", "frequency", "21:30", ('unknown host "frequency"', "HOST.KNOB")),
    Bad("values of a knob", "[1.2 GHz, 2.4 GHz]", "2.4 GHz", "21:46", ('"2.4 GHz" is not a list',)),
    Bad("no values", "[1.2 GHz, 2.4 GHz]", "[]", "21:46", ("edge.frequency: an empty list",)),
    Bad("value without unit", "2.4 GHz]", "2.4]", "21:56", ("frequency 2.4 has no unit", "kHz, MHz, GHz")),
    Bad("value twice", "[1.2 GHz, 2.4 GHz]", "[1.2 GHz, 1.2 GHz]", "21:56", ('"1.2 GHz" is given twice',)),
    Bad("more cores than there are", "[1], edge", "[2], edge", "21:26", ("2 cores, client has 1", "1 to 1")),
    Bad("no cores", "[1], edge", "[0], edge", "21:26", ("cores: 0 is out of range", "1 to 1024")),
    Bad("fewer at most", "at_most: 6", "at_most: 0", "22:35", ("0 is out of range", "1 to 1000")),
    Bad(
        "at most below at least", "at_least: 3", "at_least: 7", "22:35", ("at_most 6 is below at_least 7", "7 or more")
    ),
    Bad("nothing to add", "at_least: 3", "at_least: 6", "22:38", ("until without repeats to add", "at_most above 6")),
    Bad("too few to tell", "at_least: 3", "at_least: 2", "22:23", ("at_least 2 with until", "3 or more, or no until")),
    Bad(
        "too few at most", "at_least: 3, at_most: 6", "at_most: 3", "22:25", ("until without repeats to add", "above 3")
    ),
    Bad(
        "at most below what tells", "at_least: 3, at_most: 6", "at_most: 2", "22:22", ("at_most 2 is below at_least 3",)
    ),
    Bad("until of energy", "bytes: 4 MB", "energy: 4 J", "22:38", ("until with energy, which has no interval",)),
    Bad("until without unit", "until: 5 %", "until: 0.05", "22:45", ("share 0.05 has no unit", "%")),
    Bad("options of a stranger", "{comm-slim:", "{comm-slm:", "23:13", ('"comm-slm"', 'mean "comm-slim"')),
    Bad("option", "population: 24", "population: [24]", "23:65", ("population: a list is no option", "a quantity")),
    Bad(
        "option of no unit", "latency: 200 ms}", "latency: 200 parsecs}", "23:34", ('"200 parsecs" is not a quantity',)
    ),
    Bad("site twice", "[a.ini, b.ini]", "[a.ini, a.ini]", "24:18", ('"a.ini" is given twice', "each once")),
    Bad("a site that is no path", "[a.ini, b.ini]", "[a.ini, 3]", "24:18", ("3 is not a path",)),
    Bad("unknown rule", "cuts: couper", "cuts: coupler", "10:49", ('"coupler" is no rule', 'mean "couper"', "a list")),
    Bad("rule of another key", "cuts: couper", "cuts: {rule: exact}", "10:49", ("a mapping is no rule", "couper")),
    Bad(
        "rule for three slices",
        "slices: [edge, cloud]",
        "slices: [client, edge, cloud]",
        "10:57",
        ("couper divides a model in two", "client, edge, cloud are 3"),
    ),
    Bad("rule for one slice", "slices: [edge, cloud]", "slices: [edge]", "10:36", ("cuts of one slice", "whole model")),
)
