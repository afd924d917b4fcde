"""Tables of the pipeline's benchmark, and the verdicts that come out of each part; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.network.stats import median, ratio
from benchmarks.network.tables import seconds, spread, table, times
from benchmarks.pipeline.shaped import SIZES_BYTES
from benchmarks.slicer import bars
from benchmarks.slicer.bars import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.network.stats import Estimate
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


def change_table(found: Sequence[Change]) -> str:
    """Each change of cut under a camera of 24 frames a second."""
    rows = [
        [
            str(number),
            seconds(each.prepared_s),
            str(each.dropped),
            str(each.reordered),
            bars.signed(each.usual_gap_s),
            bars.signed(each.gap_s),
        ]
        for number, each in enumerate(found, 1)
    ]
    return table(["change", "order to switch", "dropped", "out of order", "usual gap", "gap at the switch"], rows)


def change_verdicts(found: Sequence[Change]) -> list[Verdict]:
    """Gaps between answers are counted beyond the camera's interval."""
    gaps = [each.gap_s for each in found]
    said = "met" if max(gaps) <= CAMERA_INTERVAL_S else "NOT met"
    longest = f"{bars.signed(max(gaps))}, longest of {len(gaps)}"
    return [
        bars.of_count("changes that drop a frame", sum(each.dropped > 0 for each in found), len(found)),
        bars.of_count("changes that reorder frames", sum(each.reordered > 0 for each in found), len(found)),
        Verdict("gap at the change, beyond the interval", longest, f"at most one, {seconds(CAMERA_INTERVAL_S)}", said),
    ]


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
