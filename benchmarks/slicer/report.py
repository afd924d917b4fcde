"""Tables of the benchmark, and the verdicts that come out of each part; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.network.stats import median, ratio
from benchmarks.network.tables import seconds, spread, table, times
from benchmarks.slicer import bars
from benchmarks.slicer.cutting import COUPER, FRESH, PARSE, SLICEBED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.slicer.bars import Verdict
    from benchmarks.slicer.cutting import Listed
    from benchmarks.slicer.equality import Checked

    from slicebed_agent.model.execute.check import CutCheck

    Change = Mapping[str, Any]
    Chained = Mapping[str, Any]
    Held = Mapping[str, Any]


def cuts_table(found: Mapping[str, Listed]) -> str:
    """Every way from the file to the list, against Slicebed held or started as it is."""
    rows = []
    for name, listed in found.items():
        took = median(listed.seconds)
        base = SLICEBED + (FRESH if name.endswith(FRESH) else "")
        against = "1" if name == base else times(ratio(listed.seconds, found[base].seconds))
        sweep = seconds(median(listed.sweep_s).median) if listed.sweep_s else "-"
        rows.append([name, seconds(took.median), spread(took), sweep, str(listed.cuts or "-"), against])
    return table(["way", "median", "95 % interval", "walk alone", "cuts", "x Slicebed"], rows)


def cuts_verdicts(model: str, found: Mapping[str, Listed]) -> list[Verdict]:
    """The first bar, in four rows."""
    took = {name: listed.seconds for name, listed in found.items()}
    return [
        bars.of_ratio(
            f"cuts of {model} : parsing its file",
            ratio(took[SLICEBED], took[PARSE]),
            bars.RATIO_TO_PARSING,
        ),
        bars.of_time(f"sweep of {model}", median(found[SLICEBED].sweep_s), bars.SWEEP_S),
        bars.of_ratio(
            f"importing {model}, walking it : Slicebed",
            ratio(took[COUPER], took[SLICEBED]),
            bars.RATIO_OF_COUPER,
            at_least=True,
        ),
        bars.of_ratio(
            "the same, a process started each time",
            ratio(took[COUPER + FRESH], took[SLICEBED + FRESH]),
            bars.RATIO_OF_COUPER,
            at_least=True,
        ),
    ]


def equality_table(found: Sequence[Checked]) -> str:
    """Every model's cuts, of one tensor and of several."""
    rows = []
    for checked in found:
        for several, there in ((False, checked.single), (True, checked.several)):
            ran = [row for row in checked.rows if (len(row.tensors[0]) > 1) is several]
            if ran:
                rows.append([checked.model, "2 or 3" if several else "1", f"{len(ran)} of {there}", *_equal(ran)])
    head = ["model", "tensors", "cuts run", "bit-exact", "within 1e-5", "refused", "other label", "worst"]
    return table(head, rows)


def _equal(ran: Sequence[CutCheck]) -> list[str]:
    exact = sum(bool(row.bit_exact) for row in ran)
    worst = max((row.max_rel for row in ran if row.max_rel is not None), default=0.0)
    return [
        str(exact),
        str(sum(row.passed for row in ran) - exact),
        str(sum(row.refused is not None for row in ran)),
        str(sum(row.same_label is False for row in ran)),
        f"{worst:.1e}" if worst else "0",
    ]


def equality_verdicts(found: Sequence[Checked]) -> list[Verdict]:
    """The second bar: what differs, and what was refused."""
    rows = [row for checked in found for row in checked.rows]
    refused = sum(row.refused is not None for row in rows)
    different = sum(not row.passed for row in rows) - refused
    models = f"cuts of {len(found)} models that"
    return [
        bars.of_count(f"{models} differ by more than 1e-5", different, len(rows)),
        bars.of_count(f"{models} are refused", refused, len(rows)),
    ]


def change_table(found: Mapping[str, Sequence[Change]]) -> str:
    """Median and longest of every step of a change, by model."""
    rows = []
    for model, changes in found.items():
        steps = {
            "prepare the slowest slice": [max(each["prepare_s"]) for each in changes],
            "prepare all three in turn": [sum(each["prepare_s"]) for each in changes],
            "switch": [each["switch_s"] for each in changes],
            "first frame, more than later": [each["first_s"] for each in changes],
            "a later frame": [each["frame_s"] for each in changes],
            "release the old cut": [each["release_s"] for each in changes],
        }
        for step, values in steps.items():
            middle = median(values)
            rows.append([model, step, *(bars.signed(each) for each in (middle.median, max(values))), str(len(values))])
    return table(["model", "step", "median", "longest", "changes"], rows)


def change_verdicts(found: Mapping[str, Sequence[Change]]) -> list[Verdict]:
    """The third bar; preparing is judged by all slices of the cut, which hosts would prepare at the same time."""
    verdicts = []
    for model, changes in found.items():
        verdicts.append(bars.of_worst(f"switch, {model}", [each["switch_s"] for each in changes], bars.SWITCH_S))
        verdicts.append(
            bars.of_time(
                f"switch and first frame, {model}",
                median([each["switch_s"] + each["first_s"] for each in changes]),
                bars.SWITCH_S,
            )
        )
        if model in bars.PREPARE_S:
            took = [sum(each["prepare_s"]) for each in changes]
            verdicts.append(bars.of_worst(f"prepare three slices, {model}", took, bars.PREPARE_S[model]))
    return verdicts


def chain_table(found: Mapping[str, Chained]) -> str:
    """Each model's chains of three slices against the whole."""
    rows = []
    for model, chained in found.items():
        whole = median(chained["whole"])
        for cut, took in chained["chains"].items():
            rows.append(
                [
                    model,
                    _kind(cut, chained),
                    seconds(whole.median),
                    seconds(median(took).median),
                    str(whole.count),
                    times(ratio(took, chained["whole"])),
                ]
            )
    return table(["model", "cut", "whole", "three", "pairs", "three : whole"], rows)


def chain_verdicts(found: Mapping[str, Chained]) -> list[Verdict]:
    """The fourth bar, for every cut that was run."""
    return [
        bars.of_ratio(f"three : whole, {model}, {_kind(cut, chained)}", ratio(took, chained["whole"]), bars.CHAIN_RATIO)
        for model, chained in found.items()
        for cut, took in chained["chains"].items()
    ]


def _kind(cut: str, chained: Chained) -> str:
    return "thirds" if cut == chained["thirds"] else "drawn"


def memory_table(found: Mapping[str, Sequence[Held]]) -> str:
    """Every published slice's process, MB."""
    rows = []
    for model, slices in found.items():
        for number, held in enumerate(slices, 1):
            keys = ("weights_bytes", "resident_bytes", "own_bytes", "peak_bytes")
            weights, resident, own, peak = (held[key] for key in keys)
            sizes = [weights, resident, own, resident - weights, peak, peak - weights]
            rows.append([f"{model} {number}", *(f"{size / 1e6:.0f}" for size in sizes)])
    return table(["slice", "weights", "resident", "its own", "above weights", "peak", "peak above weights"], rows)


def memory_verdicts(found: Mapping[str, Sequence[Held]]) -> list[Verdict]:
    """The last bar: while it runs, and at its peak."""
    slices = [held for each in found.values() for held in each]
    running = max(held["resident_bytes"] - held["weights_bytes"] for held in slices)
    peak = max(held["peak_bytes"] - held["weights_bytes"] for held in slices)
    return [
        bars.of_bytes(f"memory above weights, worst of {len(slices)} slices", running, bars.ABOVE_WEIGHTS_BYTES),
        bars.of_bytes("the same at its peak, libraries loading", peak, bars.ABOVE_WEIGHTS_BYTES),
    ]


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """All bars."""
    rows = [[each.what, each.found, each.bar, each.said] for each in verdicts]
    return table(["bar", "found", "asked", "verdict"], rows)
