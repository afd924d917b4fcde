"""Tables of the pipeline's benchmark, and the verdicts that come out of each part; pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.network.stats import median, ratio
from benchmarks.network.tables import seconds, spread, table, times
from benchmarks.pipeline.shaped import SIZES_BYTES
from benchmarks.slicer import bars
from benchmarks.slicer.bars import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.network.stats import Estimate
    from benchmarks.pipeline.encoded import Crossing
    from benchmarks.pipeline.link import Figures
    from benchmarks.pipeline.shaped import Transfer
    from benchmarks.pipeline.streaming import Change, Rate, Soak

SHAPED_RATIO: Final = 1.05
OF_PLAIN_TCP: Final = 0.6
OF_UNARY: Final = 4.0
PING_S: Final = 0.0003
RATE_SHARE: Final = 0.9
CAMERA_INTERVAL_S: Final = 1 / 24
GROWTH: Final = 1.05
FASTER_BEHIND_RELU: Final = 1.8


def link_verdicts(found: Mapping[str, Figures]) -> list[Verdict]:
    """Loopback: throughput against plain TCP and unary calls, and a small message there and back."""
    ours, plain, unary = found["link"], found["tcp"], found["unary"]
    pings, alone = (median([each / 1e3 for each in of.ping_ms]) for of in (ours, found["stream"]))
    return [
        bars.of_ratio(
            "12.8 MB over loopback : plain TCP", ratio(ours.mb_per_s, plain.mb_per_s), OF_PLAIN_TCP, at_least=True
        ),
        bars.of_ratio(
            "the same : make_tensor_proto, unary", ratio(ours.mb_per_s, unary.mb_per_s), OF_UNARY, at_least=True
        ),
        bars.of_time("4 kB there and back, through two agents", pings, PING_S),
        bars.of_time("4 kB there and back, the transport alone", alone, PING_S),
    ]


def shaped_table(found: Sequence[Transfer]) -> str:
    """Every size, warm and after idle seconds, against the goodput of the link and one way's delay."""
    rows = []
    for size in SIZES_BYTES:
        for idle in (False, True):
            of = [each for each in found if (each.size_bytes, each.idle) == (size, idle)]
            took = median([each.seconds for each in of])
            name = f"{size / 1e6:g} MB, {'after 2 s idle' if idle else 'warm'}"
            rows.append([name, seconds(of[0].ideal_s), seconds(took.median), spread(took), str(len(of)), _shared(of)])
    return table(["array", "ideal", "median", "95 % interval", "sent", "x ideal"], rows)


def shaped_verdicts(found: Sequence[Transfer]) -> list[Verdict]:
    """The bar holds of every size in both cases: that of the largest ratio is judged."""
    verdicts = []
    for idle in (False, True):
        ratios = {size: _ratio([e for e in found if (e.size_bytes, e.idle) == (size, idle)]) for size in SIZES_BYTES}
        worst = max(ratios, key=lambda size: ratios[size].median)
        case = "after 2 s idle" if idle else "warm"
        name = f"{case}, worst size ({worst / 1e6:g} MB) : ideal"
        verdicts.append(bars.of_ratio(name, ratios[worst], SHAPED_RATIO))
    return verdicts


def _shared(of: Sequence[Transfer]) -> str:
    return times(_ratio(of))


def _ratio(of: Sequence[Transfer]) -> Estimate:
    return ratio([each.seconds for each in of], [each.ideal_s for each in of])


def encoded_tables(found: Sequence[Crossing]) -> dict[str, str]:
    """By model, every boundary: raw and as auto writes it."""
    head = ["split point", "kB", "as sent", "raw", "auto", "raw : auto"]
    tables = {}
    for model, of in _by_model(found).items():
        rows = [
            [
                each.point,
                f"{each.raw_bytes / 1e3:.0f}",
                f"{each.sent_bytes / 1e3:.0f}",
                seconds(statistics.median(each.raw_s)),
                seconds(statistics.median(each.auto_s)),
                times(each.faster),
            ]
            for each in of
        ]
        tables[model] = table(head, rows)
    return tables


def encoded_verdicts(found: Sequence[Crossing]) -> list[Verdict]:
    """By model: a boundary is slower where the whole interval says so."""
    verdicts = []
    for model, of in _by_model(found).items():
        slower = sum(max(each.faster.median, each.faster.high) < 1 for each in of)
        behind = sorted(each.faster.median for each in of if each.is_relu)
        held = sum(each >= FASTER_BEHIND_RELU for each in behind)
        told = f"{held} of {len(behind)}, median {statistics.median(behind):.2f} x"
        verdict = "met" if held == len(behind) else "NOT met"
        verdicts += [
            bars.of_count(f"auto slower than raw, {model}", slower, len(of)),
            Verdict(f"raw : auto behind ReLU, {model}", told, f"all {FASTER_BEHIND_RELU} x", verdict),
        ]
    return verdicts


def _by_model(found: Sequence[Crossing]) -> dict[str, list[Crossing]]:
    return {model: [each for each in found if each.model == model] for model in dict.fromkeys(e.model for e in found)}


def rate_table(found: Mapping[str, Sequence[Rate]]) -> str:
    """Frames a second of three slices, and what the slowest would let through alone."""
    rows = []
    for model, rounds in found.items():
        for number, each in enumerate(rounds, 1):
            works = ", ".join(seconds(took) for took in each.stages.values())
            alone = f"{1 / each.slowest_s:.1f}"
            rows.append([f"{model} {number}", works, f"{each.frames_per_s:.1f}", alone, f"{each.share:.3f}"])
    return table(["run", "work of the slices", "frames/s", "1 / slowest", "share"], rows)


def rate_verdicts(found: Mapping[str, Sequence[Rate]]) -> list[Verdict]:
    """Every model by itself."""
    return [
        bars.of_ratio(
            f"frames/s x slowest slice, {model}", median([each.share for each in rounds]), RATE_SHARE, at_least=True
        )
        for model, rounds in found.items()
    ]


def change_table(found: Mapping[str, Sequence[Change]]) -> str:
    """Each change of cut under a camera of 24 frames a second."""
    rows = [
        [
            f"{model} {number}",
            f"{each.cores:.2f}",
            seconds(each.prepared_s),
            str(each.dropped),
            str(each.reordered),
            bars.signed(each.usual_gap_s),
            bars.signed(each.gap_s),
        ]
        for model, changes in found.items()
        for number, each in enumerate(changes, 1)
    ]
    head = ["change", "cores", "order to switch", "dropped", "out of order", "usual gap", "gap at the switch"]
    return table(head, rows)


def change_verdicts(found: Mapping[str, Sequence[Change]]) -> list[Verdict]:
    """Every model by itself; gaps between answers are counted beyond the camera's interval."""
    verdicts = []
    for model, changes in found.items():
        gaps = [each.gap_s for each in changes]
        said = "met" if max(gaps) <= CAMERA_INTERVAL_S else "NOT met"
        longest = f"{bars.signed(max(gaps))}, longest of {len(gaps)}"
        at_most = f"at most {seconds(CAMERA_INTERVAL_S)}"
        verdicts += [
            bars.of_count(f"changes that drop a frame, {model}", sum(each.dropped > 0 for each in changes), len(gaps)),
            bars.of_count(
                f"changes that reorder frames, {model}", sum(each.reordered > 0 for each in changes), len(gaps)
            ),
            Verdict(f"gap at the change, {model}", longest, at_most, said),
        ]
    return verdicts


def soak_table(found: Soak) -> str:
    """The long stream's account."""
    counts = [f"{each:,}" for each in (found.captured, found.completed, found.dropped, found.failed)]
    growth = ", ".join(f"{host} {share - 1:+.1%}" for host, share in found.growth.items())
    head = ["captured", "completed", "dropped", "failed", "took", "memory, last tenth : second"]
    return table(head, [[*counts, seconds(found.seconds), growth]])


def soak_verdicts(found: Soak) -> list[Verdict]:
    """Every frame has an end, and memory is flat."""
    missing = found.captured - found.completed - found.dropped - found.failed
    worst = max(found.growth.values())
    flat = "met" if worst <= GROWTH else "NOT met"
    return [
        bars.of_count("frames without an end", missing, found.captured),
        Verdict("memory of the agent that grows most", f"{worst - 1:+.1%}", f"at most {GROWTH - 1:.0%}", flat),
    ]
