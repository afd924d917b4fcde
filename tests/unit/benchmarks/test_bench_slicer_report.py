"""What the benchmark concludes of figures, and that its tables fit the terminal."""

import pytest
from benchmarks.network.tables import WIDTH
from benchmarks.slicer import report
from benchmarks.slicer.cutting import COUPER, FRESH, PARSE, SLICEBED, Listed


def listed(seconds, sweep=()):
    return Listed([seconds] * 5, list(sweep), 8, 1500)


@pytest.fixture
def ways():
    return {
        SLICEBED: listed(0.25, [0.013] * 5),
        PARSE: listed(0.5),
        COUPER: listed(3.0, [0.015] * 5),
        SLICEBED + FRESH: listed(0.4),
        PARSE + FRESH: listed(8.0),
        COUPER + FRESH: listed(3.6),
    }


def test_cuts_are_judged_against_parsing_and_against_importing(ways):
    found = report.cuts_verdicts("nasnet_large", ways)
    assert [(each.found, each.said) for each in found] == [
        ("0.500 x [0.500, 0.500]", "met"),
        ("13.0 ms, median of 5", "met"),
        ("12.0 x [12.0, 12.0]", "met"),
        ("9.00 x [9.00, 9.00]", "NOT met"),
    ]


def test_started_ways_are_compared_with_slicebed_started(ways):
    rows = {line[: len(COUPER + FRESH)].strip(): line for line in report.cuts_table(ways).splitlines()}
    assert rows[COUPER].endswith(" 12.0 x [12.0, 12.0]")
    assert rows[COUPER + FRESH].endswith(" 9.00 x [9.00, 9.00]")


def change(prepare, first):
    return {"prepare_s": prepare, "switch_s": 5e-6, "first_s": first, "frame_s": 0.1, "release_s": 0.02}


def test_preparing_is_judged_by_all_slices_of_the_slowest_change():
    found = {"resnet50_v2": [change([0.5, 0.5, 0.5], 0.002), change([0.5, 0.8, 0.8], 0.03), change([0.1] * 3, -0.01)]}
    said = {each.what: (each.found, each.said) for each in report.change_verdicts(found)}
    assert said["prepare three slices, resnet50_v2"] == ("2.10 s, longest of 3", "NOT met")
    assert said["switch, resnet50_v2"][1] == "met"
    assert said["switch and first frame, resnet50_v2"] == ("2.00 ms, median of 3", "met, interval open")
    assert "-10.0 ms" not in report.change_table(found)


def test_every_chain_has_its_verdict():
    chains = {"a,b": [1.05] * 5, "c,d": [1.2] * 5}
    found = {"vgg16": {"whole": [1.0] * 5, "thirds": "a,b", "chains": chains}}
    assert [(each.what.rsplit(", ", 1)[1], each.said) for each in report.chain_verdicts(found)] == [
        ("thirds", "met"),
        ("drawn", "NOT met"),
    ]


def test_memory_is_judged_by_the_worst_slice():
    small = {"weights_bytes": 0, "resident_bytes": 130e6, "own_bytes": 100e6, "peak_bytes": 370e6}
    large = {"weights_bytes": 500e6, "resident_bytes": 640e6, "own_bytes": 610e6, "peak_bytes": 640e6}
    assert [(each.found, each.said) for each in report.memory_verdicts({"vgg16": [small, large]})] == [
        ("140 MB", "met"),
        ("370 MB", "NOT met"),
    ]


def test_tables_fit_the_terminal(ways):
    long_cut = {"whole": [1.0] * 5, "thirds": "x", "chains": {"name_of_a_block/Add," * 6 + "y": [1.0] * 5}}
    texts = [
        report.cuts_table(ways),
        report.chain_table({"inception_resnet_v2": long_cut}),
        report.change_table({"inception_resnet_v2": [change([0.5] * 3, 0.002)]}),
        report.verdict_table(
            report.cuts_verdicts("nasnet_large", ways) + report.chain_verdicts({"inception_resnet_v2": long_cut})
        ),
    ]
    assert max(len(line) for text in texts for line in text.splitlines()) <= WIDTH
