"""`slicebed model`: the zoo, a model's graph, its split points, its slices."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slicebed.cli._console import console, print_json
from slicebed.cli._model_options import takes_model
from slicebed.cli._model_tables import (
    check_line,
    cuts_table,
    layers_table,
    operators_table,
    placement_table,
    placement_text,
    slice_line,
    zoo_table,
)
from slicebed.errors import MissingRequirementError, SpecError
from slicebed.spec.units import parse_duration_us, parse_rate_bit_per_s
from slicebed.split.model import Level, point_to_plain
from slicebed.split.obtain import obtain_model
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.image import read_image_facts
from slicebed_agent.model.source import ModelSource  # noqa: TC001 - `takes_model` reads the annotations
from slicebed_agent.model.zoo.entries import list_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.graph import SplitPoint

app = typer.Typer(no_args_is_help=True)

LevelOption = Annotated[Level, typer.Option(help="Operators, or layers.")]
AlgorithmOption = Annotated[str, typer.Option(help="Whose split points: exact, couper, or a plug-in's name.")]
TensorsOption = Annotated[int, typer.Option("--max-tensors", help="How many tensors may cross at one split point.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, alone.")]


@app.callback()
def _group() -> None:
    """Models: what they are made of, where they may be cut, and their slices."""


@app.command("list")
def list_zoo(*, as_json: JsonOption = False) -> None:
    """The zoo and what is known of each model."""
    if as_json:
        print_json({"models": [asdict(entry) for entry in list_models()]})
    else:
        console().print(zoo_table(list_models()))


@app.command()
@takes_model
def inspect(source: ModelSource, *, level: LevelOption = Level.LAYER, as_json: JsonOption = False) -> None:
    """Operators or layers, their tensors, parameters and FLOPs."""
    opened = _opened(source)
    if as_json:
        print_json({**opened.about(), "level": str(level), "rows": opened.rows(level)})
        return
    out = console()
    out.print(operators_table(opened) if level is Level.OPERATOR else layers_table(opened))
    out.print(opened.summary())


@app.command()
@takes_model
def cuts(
    source: ModelSource,
    *,
    level: LevelOption = Level.OPERATOR,
    algorithm: AlgorithmOption = "exact",
    max_tensors: TensorsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Every place where the model may be cut, with what crosses there and what lies on each side."""
    opened = _opened(source)
    points = opened.split_points(level, algorithm, max_tensors)
    exact = points if algorithm == "exact" else opened.split_points(level, "exact", max_tensors)
    if as_json:
        about = {**opened.about(), "level": str(level), "algorithm": algorithm, "max_tensors": max_tensors}
        print_json({**about, "exact_count": len(exact), "cuts": [point_to_plain(point) for point in points]})
        return
    out = console()
    out.print(cuts_table(points))
    beside = "" if algorithm == "exact" else f"; exact counts {len(exact)}"
    more = "" if points else "; more are found with a higher --max-tensors"
    out.print(f"{len(points)} split points of {opened.name} by {algorithm}{beside}{more}")
    out.print(opened.summary())


@app.command("slice")
@takes_model
def slice_model(
    source: ModelSource,
    *,
    cut: Annotated[str, typer.Option(metavar="A[,B...]", help="One split point for each boundary.")],
    algorithm: AlgorithmOption = "exact",
    out: Annotated[Path, typer.Option(help="Folder for the slices; must not exist, or be empty.")],
    max_tensors: TensorsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Write true slices: each holds its own operators and weights only."""
    from slicebed.split.slices import slice_folder, write_cut  # noqa: PLC0415 - numpy, which --help can wait for

    opened = _opened(source)
    points = opened.cut(_names(cut), max_tensors, algorithm)
    manifests = write_cut(opened, points, out)
    if as_json:
        slices = [{**asdict(manifest), "folder": str(slice_folder(out, n))} for n, manifest in enumerate(manifests, 1)]
        print_json({**opened.about(), "cut": [point.name for point in points], "slices": slices})
        return
    for number, manifest in enumerate(manifests, 1):
        console().print(slice_line(slice_folder(out, number), manifest))


@app.command()
@takes_model
def check(
    source: ModelSource,
    *,
    cut: Annotated[str | None, typer.Option(metavar="A[,B...]", help="This cut.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every split point.")] = False,
    sample: Annotated[int | None, typer.Option(min=1, help="So many split points, drawn by --draw.")] = None,
    draw: Annotated[int, typer.Option(help="Draws the sample and the frame.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Frames at a time.")] = 1,
    level: LevelOption = Level.OPERATOR,
    algorithm: AlgorithmOption = "exact",
    max_tensors: TensorsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Run the chain of slices against the whole model. Exit code 6 when any cut does not give the same."""
    from slicebed_agent.model.execute import check as checks  # noqa: PLC0415 - numpy, which --help can wait for
    from slicebed_agent.model.execute.executor import Executor  # noqa: PLC0415 - as above

    if (cut is not None) + every + (sample is not None) != 1:
        raise SpecError("which cuts?", where="slicebed model check", mend="give one of --cut, --all and --sample N")
    opened = _opened(source)
    if cut is not None:
        chosen: list[Sequence[SplitPoint]] = [opened.cut(_names(cut), max_tensors, algorithm)]
    else:
        chosen = [(point,) for point in opened.split_points(level, algorithm, max_tensors)]
        if not chosen:
            raise SpecError(
                f"{algorithm} finds no split point where at most {max_tensors} tensor(s) cross: nothing to check",
                where=opened.name,
                mend="more are found with a higher --max-tensors",
            )
        chosen = chosen if sample is None else checks.sample(chosen, sample, draw)
    rows = []
    with Executor(opened.frozen.path) as executor:
        for row in checks.check_cuts(
            executor, (opened.graph.inputs, opened.graph.outputs), chosen, seed=draw, batch=batch
        ):
            rows.append(row)
            if not as_json:
                console().print(check_line(row))
    passed = sum(row.passed for row in rows)
    if as_json:
        plain = [{**asdict(row), "passed": row.passed} for row in rows]
        print_json({**opened.about(), "passed": passed, "checks": plain})
    else:
        exact = sum(bool(row.bit_exact) for row in rows)
        console().print(f"{passed} of {len(rows)} cuts equal the whole model, {exact} of them to the last bit")
        console().print(opened.summary())
    if passed < len(rows):
        raise typer.Exit(6)


@app.command("place")
@takes_model
def place_model(
    source: ModelSource,
    *,
    near: Annotated[
        Path, typer.Option(metavar="NEAR.json", help="Profile of the host that frames come from, with --operators.")
    ],
    rate: Annotated[str, typer.Option(metavar="RATE", help="Of the link, as in '50 Mbit/s'.")],
    far: Annotated[
        Path | None, typer.Option(metavar="FAR.json", help="Profile of the host at the link's other end.")
    ] = None,
    far_scale: Annotated[
        float | None,
        typer.Option(metavar="S", help="In place of --far: a host that takes S times what the near one takes."),
    ] = None,
    rtt: Annotated[str, typer.Option(metavar="TIME", help="Round trip of the link.")] = "0 ms",
    as_json: JsonOption = False,
) -> None:
    """Which operators to run on which of two hosts, for the least time of one frame."""
    from slicebed.split import place  # noqa: PLC0415 - numpy and networkx, which --help can wait for

    link = place.Link(_quantity(parse_rate_bit_per_s, rate, "--rate"), _quantity(parse_duration_us, rtt, "--rtt"))
    link.check()
    if (far is None) == (far_scale is None):
        raise SpecError(
            "which far host?", where="slicebed model place", mend="give --far FAR.json, or --far-scale where it is none"
        )
    opened = _opened(source)
    here = place.read_host(opened, near)
    there = here.scaled(far_scale) if far_scale is not None else place.read_host(opened, far or near)
    found = place.place(opened, here, there, link)
    if as_json:
        hosts = {"near": here.to_plain(), "far": there.to_plain()}
        print_json({**opened.about(), "link": asdict(link), **hosts, **found.to_plain()})
        return
    out = console()
    out.print(placement_table(found))
    out.print(placement_text(found, here, there))
    out.print(opened.summary())


def _quantity(parse: Callable[[object], int], text: str, option: str) -> int:
    try:
        return parse(text)
    except SpecError as error:
        error.where = option
        raise


def _names(cut: str) -> list[str]:
    names = [name.strip() for name in cut.split(",")]
    if not all(names):
        raise SpecError(f"no cut in {cut!r}", where="--cut", mend="name split points, as in block_3_add,block_6_add")
    return names


def _opened(source: ModelSource) -> OpenedModel:
    try:
        image = read_image_facts(find_checkout())
    except MissingRequirementError:
        # Only a model that has to be frozen first needs it, and says then what is missing.
        image = None
    return obtain_model(source, image=image, say=console(stderr=True).print)
