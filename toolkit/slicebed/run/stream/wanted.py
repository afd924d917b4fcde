"""What a stream is asked to be: an experiment of one placement that never ends, from options or from a file."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import SpecError
from slicebed.spec.cuts import Cut, cut_of, is_numbers
from slicebed.spec.experiment import MAX_FRAMES, load_experiment
from slicebed.spec.experiment_model import FRAME_RATES
from slicebed.spec.models import Images
from slicebed.spec.problems import SpecErrors
from slicebed.spec.testbed import load_testbed
from slicebed.spec.units import UnitError, parse_frame_rate_per_s
from slicebed_agent.errors import OneLineError
from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.spec.experiment import Experiment
    from slicebed.spec.pipeline import Placement

RECONNECT_S: Final = 60
_SEED: Final = 7
_QUEUE: Final = 2


@dataclass(frozen=True)
class Options:
    """The command line's options; None is what was not given.

    Attributes:
        testbed: file of the hosts and links; not with an experiment, which names its own.
        experiment: file, in place of model, hosts and pictures.
        placement: of the experiment; by default its first.
        model: name of the zoo or path.
        weights: of a model of the zoo: file of weights.
        seed: of a model of the zoo: draw the weights from it.
        cut: split points, ``A,B``, or layers ``1-8``.
        candidates: further cuts, of which the best is taken while the stream runs.
        hosts: of the slices, in order; the camera is on the first.
        images: what the camera sees.
        video: a file.
        folder: of pictures.
        resolution: of pictures, ``1280x720``.
        rate: ``24 frame/s``.
        codec: of every link.
        frames: after which it ends; None goes on.
    """

    testbed: Path
    experiment: Path | None = None
    placement: str | None = None
    model: str | None = None
    weights: Path | None = None
    seed: int | None = None
    cut: str | None = None
    candidates: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = None
    images: str | None = None
    video: Path | None = None
    folder: Path | None = None
    resolution: str | None = None
    rate: str | None = None
    codec: str | None = None
    frames: int | None = None


@dataclass(frozen=True)
class WantedStream:
    """A stream to be.

    Attributes:
        experiment: with one placement, whose cuts are those below.
        cut: to begin with.
        candidates: to choose from while it runs, the first cut among them; empty without --adapt.
        frames: after which it ends; 0 goes on.
    """

    experiment: Experiment
    cut: Cut
    candidates: tuple[Cut, ...]
    frames: int

    @property
    def placement(self) -> Placement:
        """Its only one."""
        return self.experiment.every_placement[0]

    @property
    def chain(self) -> tuple[str, ...]:
        """Hosts that frames pass, first to last."""
        return self.placement.chain(self.experiment.chain[0])

    def with_cut(self, cut: Cut) -> WantedStream:
        """The same, and this cut may be looked up in its model too.

        Raises:
            SpecError: it has another number of split points.
        """
        placement = self.placement
        require_points(cut, placement)
        cuts = tuple(dict.fromkeys((*placement.cuts, cut)))
        return replace(self, experiment=replace(self.experiment, placements=(replace(placement, cuts=cuts),)))


def read_cut(text: str, option: str) -> Cut:
    """A cut as an option names it: ``A,B`` or ``1-8``.

    Raises:
        SpecError: it is none.
    """
    names = [name.strip() for name in text.split(",")]
    cut = cut_of("-".join(names)) if is_numbers("-".join(names)) else cut_of(names)
    if cut is None:
        raise SpecError(f"{text!r} is not a cut", where=option, mend="name split points, A,B, or layers, 1-8")
    return replace(cut, place=option)


def require_points(cut: Cut, placement: Placement) -> None:
    """Refuse a cut that makes another number of slices than the placement has.

    Raises:
        SpecError: it does.
    """
    if len(cut.points) != len(placement.slices) - 1:
        slices = len(placement.slices)
        what = f"{len(cut.points)} split points, and {slices} slices on {', '.join(placement.slices)}"
        raise SpecError(what, where=cut.place, mend=f"name {slices - 1}, or other --hosts")


@contextmanager
def in_words_of(options: Options) -> Iterator[WantedStream]:
    """Make the stream of some options; whatever is found wrong with it inside the block is told by the option's name.

    Raises:
        SpecError: an option, a file that it names, or their combination is wrong.
    """
    if options.experiment is not None:
        yield _from_experiment(options, load_experiment(options.experiment))
        return
    lines = _document(options)
    with tempfile.TemporaryDirectory(prefix="slicebed-stream-") as folder:
        path = Path(folder) / "stream.yml"
        path.write_text("".join(f"{text}\n" for text, _ in lines), encoding="utf-8")
        try:
            experiment = load_experiment(path)
            cuts = _own_words(experiment.every_placement[0].cuts, options)
            placement = replace(experiment.every_placement[0], cuts=cuts)
            require_points(cuts[0], placement)
            yield _wanted(replace(experiment, placements=(placement,)), cuts, options)
        except SpecErrors as error:
            raise SpecErrors([_translated(line, path, lines) for line in error.lines]) from error
        except OneLineError as error:
            error.where = None if error.where is None else _translated(error.where, path, lines)
            raise


def _own_words(cuts: Sequence[Cut], options: Options) -> tuple[Cut, ...]:
    """A document's cuts with the options that name them; without split points there is none to name."""
    named = ["--cut" if options.cut is not None else "--hosts", *["--candidates"] * len(options.candidates)]
    return tuple(replace(cut, place=option) for cut, option in zip(cuts, named, strict=True))


def _wanted(experiment: Experiment, cuts: tuple[Cut, ...], options: Options) -> WantedStream:
    frames = options.frames or 0
    if frames > MAX_FRAMES:
        raise SpecError(f"{frames} frames are out of range", where="--frames", mend=f"allowed: 1 to {MAX_FRAMES}")
    return WantedStream(experiment, cuts[0], tuple(dict.fromkeys(cuts)) if options.candidates else (), frames)


def _from_experiment(options: Options, experiment: Experiment) -> WantedStream:
    _refuse_beside_experiment(options)
    placement = experiment.every_placement[0]
    if options.placement is not None:
        named = {each.name: each for each in experiment.every_placement}
        if options.placement not in named:
            what, known = f"no placement {options.placement!r}", ", ".join(filter(None, named)) or "none by name"
            raise SpecError(what, where=str(experiment.path), mend=f"there is {known}")
        placement = named[options.placement]
    if options.cut is None and not placement.cuts:
        what = f"cuts: {placement.rule} names no cut to begin with"
        raise SpecError(what, where=str(experiment.path), mend="give --cut")
    first = placement.cuts[0] if options.cut is None else read_cut(options.cut, "--cut")
    cuts = (first, *(read_cut(each, "--candidates") for each in options.candidates))
    for cut in cuts:
        require_points(cut, placement)
    source, pipeline = experiment.source, experiment.pipeline
    if options.rate is not None:
        source = replace(source, rate_per_s=_read_rate(options.rate))
    if options.codec is not None:
        if options.codec not in list(Codec):
            raise SpecError(f"no codec {options.codec!r}", where="--codec", mend=f"there are {', '.join(Codec)}")
        pipeline = replace(pipeline, codec=Codec(options.codec))
    pipeline = replace(pipeline, reconnect_us=pipeline.reconnect_us or RECONNECT_S * 1_000_000)
    placement = replace(placement, cuts=tuple(dict.fromkeys(cuts)), rule=None)
    changed = replace(experiment, source=source, pipeline=pipeline, placements=(placement,))
    return _wanted(changed, cuts, options)


def _read_rate(text: str) -> float:
    """Frames per second, held against the range that experiment files are."""
    try:
        rate_per_s = parse_frame_rate_per_s(text)
    except UnitError as error:
        raise SpecError(error.what, where="--rate", mend=error.mend) from error
    low, high = FRAME_RATES
    if not parse_frame_rate_per_s(low) <= rate_per_s <= parse_frame_rate_per_s(high):
        raise SpecError(f'frame rate "{text}" is out of range', where="--rate", mend=f"allowed: {low} to {high}")
    return rate_per_s


def _refuse_beside_experiment(options: Options) -> None:
    given = {
        "--model": options.model,
        "--weights": options.weights,
        "--seed": options.seed,
        "--hosts": options.hosts,
        "--images": options.images,
        "--video": options.video,
        "--folder": options.folder,
        "--resolution": options.resolution,
    }
    for option, value in given.items():
        if value is not None:
            raise SpecError(f"{option} besides --experiment", where="slicebed stream", mend="write it into the file")


def _document(options: Options) -> list[tuple[str, str]]:
    """The experiment file that the options stand for: its lines, each with the option that it comes from.

    Raises:
        SpecError: an option is missing, or the testbed is wrong.
    """
    if options.model is None:
        raise SpecError("which model?", where="slicebed stream", mend="give --model and --cut, or --experiment")
    if options.placement is not None:
        raise SpecError(
            "--placement without --experiment", where="slicebed stream", mend="name the hosts of the slices: --hosts"
        )
    _require_pictures(options)
    hosts = options.hosts or load_testbed(options.testbed).host_names
    chain = list(dict.fromkeys(hosts))
    model = {
        "name": options.model if "/" not in options.model else str(Path(options.model).resolve()),
        "weights": None if options.weights is None else str(options.weights.resolve()),
        "seed": options.seed,
    }
    pictures = options.video is not None or options.folder is not None or options.images == Images.SYNTHETIC
    named = [] if options.cut is None else [read_cut(options.cut, "--cut")]
    candidates = [read_cut(each, "--candidates") for each in options.candidates]
    lines = [
        ("name: stream", ""),
        (f"testbed: {_yaml(str(options.testbed.resolve()))}", "--testbed"),
        (f"model: {_yaml(_given(model))}", "--model"),
        (f"chain: {_yaml(chain)}", "--hosts"),
        ("frames: 1", ""),
        (f"codec: {_yaml(options.codec or Codec.AUTO.value)}", "--codec"),
        (f"reconnect: {RECONNECT_S} s", ""),
        ("repeats: 1", ""),
        ("order: {randomised: false, seed: 0}", ""),
        ("source:", "--images"),
        (f"  rate: {_yaml(options.rate or '24 frame/s')}", "--rate"),
        ("  batch_size: 1", ""),
        (f"  seed: {_SEED}", ""),
        (f"  queue: {_QUEUE}", ""),
        *_pictures(options),
        ("placements:", ""),
        ("  - name: stream", ""),
        (f"    slices: {_yaml(list(hosts))}", "--hosts"),
    ]
    if pictures:
        lines += [
            (f"    transformer: {_yaml(hosts[0])}", "--hosts"),
            (f"    classifier: {_yaml(hosts[-1])}", "--hosts"),
        ]
    if named or candidates:
        if not named:
            raise SpecError("--candidates without --cut", where="slicebed stream", mend="give the cut to begin with")
        lines.append(("    cuts:", "--cut"))
        lines += [(f"      - {_yaml(_cut_value(cut))}", str(cut.place)) for cut in (*named, *candidates)]
    return lines


def _require_pictures(options: Options) -> None:
    """Refuse pictures that are not there, or that have no size; a path is relative to where the user is."""
    if options.video is not None and not options.video.is_file():
        raise SpecError(f'no such file "{options.video}"', where="--video", mend="a film's path")
    if options.folder is not None and not options.folder.is_dir():
        raise SpecError(f'no such folder "{options.folder}"', where="--folder", mend="the path of a folder of pictures")
    sized = options.folder is not None or options.images == Images.SYNTHETIC
    if sized and options.resolution is None:
        raise SpecError("pictures without a size", where="--resolution", mend="give one, such as 1280x720")


def _pictures(options: Options) -> Iterator[tuple[str, str]]:
    given = {
        "images": options.images,
        "video": None if options.video is None else str(options.video.resolve()),
        "folder": None if options.folder is None else str(options.folder.resolve()),
        "resolution": options.resolution,
    }
    for key, value in _given(given).items():
        yield f"  {key}: {_yaml(value)}", f"--{key}"


def _cut_value(cut: Cut) -> object:
    return cut.label if cut.layers is not None else list(cut.points)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _yaml(value: object) -> str:
    """JSON is YAML; this keeps every value on its line."""
    return json.dumps(value, ensure_ascii=False)


def _translated(text: str, path: Path, lines: Sequence[tuple[str, str]]) -> str:
    """The option in place of its line in a file that nobody wrote."""

    def option(found: re.Match[str]) -> str:
        return lines[int(found[1]) - 1][1] or "slicebed stream"

    return re.sub(rf"{re.escape(str(path))}:(\d+)(:\d+)?", option, text).replace(str(path), "slicebed stream")
