"""`slicebed stream`: a pipeline that keeps running, is watched, and is cut elsewhere while it runs."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slicebed.cli._console import console, print_json
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.cli.lab import DEFAULT_TESTBED
from slicebed.errors import InterruptedRunError, SpecError
from slicebed.testbed.checkout import find_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator


# What a question to the running stream may come with.
_OF_QUESTIONS = frozenset({"set_cut", "status", "stop", "inventory", "as_json"})


def stream(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Name of the zoo, or a model's path.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Of a zoo model: file of weights.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of a zoo model: draw its weights from this seed.")] = None,
    cut: Annotated[str | None, typer.Option(help="Split points, A,B; of cnn14 also layers, 1-8.")] = None,
    hosts: Annotated[
        str | None, typer.Option(help="Host of every slice, client,edge,cloud; default: the testbed's hosts.")
    ] = None,
    experiment: Annotated[Path | None, typer.Option(help="Experiment file in place of these.")] = None,
    placement: Annotated[str | None, typer.Option(help="Of the experiment; default: its first.")] = None,
    images: Annotated[str | None, typer.Option(help="digits, random or synthetic; see docs/experiment.md.")] = None,
    video: Annotated[Path | None, typer.Option(help="Show this film, again and again.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Show the pictures of this folder, again and again.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Of the pictures, such as 1280x720.")] = None,
    rate: Annotated[str | None, typer.Option(help='Of the camera; default: "24 frame/s".')] = None,
    codec: Annotated[str | None, typer.Option(help="Of every link; default: auto.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many; default: go on until Ctrl-C.")] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="Take the best of the candidates while it runs.")] = False,
    candidates: Annotated[
        list[str] | None, typer.Option(help="With --adapt: another cut; may be given several times.")
    ] = None,
    set_cut: Annotated[str | None, typer.Option("--set-cut", help="Change the running stream's cut.")] = None,
    status: Annotated[bool, typer.Option("--status", help="How the running stream stands.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the running stream.")] = False,
    testbed: Annotated[
        Path | None, typer.Option("--testbed", "-t", help="The testbed file; default: inventory/testbeds/lab.yml.")
    ] = None,
    inventory: InventoryOption = None,
    deploy: Annotated[bool, typer.Option(help="Make sure first that the agents are deployed and running.")] = True,
    results: Annotated[Path | None, typer.Option(help="Where samples go; default: results/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was asked for as JSON.")] = False,
) -> None:
    """Stream until Ctrl-C, with a live table; or ask the stream that runs."""
    checkout = find_checkout()
    hosts_file = inventory_of(checkout, inventory)
    if sum((set_cut is not None, status, stop)):
        _refuse_others(context)
        _ask(hosts_file, set_cut, status=status, stop=stop, as_json=as_json)
        return
    if adapt != bool(candidates):
        missing = "--candidates" if adapt else "--adapt"
        raise SpecError(
            f"{missing} is missing", where="slicebed stream", mend="--adapt --candidates C,D [--candidates E,F]"
        )
    if experiment is not None and testbed is not None:
        raise SpecError("--testbed besides --experiment", where="slicebed stream", mend="write it into the file")
    with _told_when_early():
        from slicebed.cli._stream_table import StreamConsole  # noqa: PLC0415 - pandas and gRPC, not for --help
        from slicebed.run.stream import start, wanted  # noqa: PLC0415 - as above

        options = wanted.Options(
            testbed=checkout.root / DEFAULT_TESTBED if testbed is None else testbed,
            experiment=experiment,
            placement=placement,
            model=model,
            weights=weights,
            seed=seed,
            cut=cut,
            candidates=tuple(candidates or ()),
            hosts=None if hosts is None else tuple(name.strip() for name in hosts.split(",")),
            images=images,
            video=video,
            folder=folder,
            resolution=resolution,
            rate=rate,
            codec=codec,
            frames=frames,
        )

        place = start.Place(checkout, hosts_file, results or checkout.results, deploy)
        with wanted.in_words_of(options) as asked, StreamConsole().shown() as watcher:
            campaign = start.run_stream(asked, place, watcher)
    if as_json:
        print_json({"campaign": campaign.name, "folder": str(campaign.folder)})
    else:
        console().print(f"Samples: {campaign.folder}", soft_wrap=True)


@contextmanager
def _told_when_early() -> Iterator[None]:
    """Say of a Ctrl-C that nothing ran yet, also while the first modules load; one that comes later ends the stream."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise InterruptedRunError("interrupted before the first frame", where="slicebed stream") from stop


def _refuse_others(context: typer.Context) -> None:
    """Of a stream that runs, only its cut can be changed."""
    given = (name for name in context.params if _is_given(context, name) and name not in _OF_QUESTIONS)
    other = next(given, None)
    if other is not None:
        what = f"--{other.replace('_', '-')} is of a stream that begins"
        raise SpecError(
            what, where="slicebed stream", mend="leave it out: of the one that runs, --set-cut changes the cut"
        )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _ask(inventory: Path, set_cut: str | None, *, status: bool, stop: bool, as_json: bool) -> None:
    """Ask the running stream one thing."""
    from slicebed.cli._stream_table import event_line  # noqa: PLC0415 - as above
    from slicebed.run.stream.desk import Ask, Request, ask, socket_path  # noqa: PLC0415 - as above

    if (set_cut is not None) + status + stop > 1:
        raise SpecError("one thing at a time", where="slicebed stream", mend="--set-cut, --status or --stop")
    kind = Ask.STATUS if status else Ask.STOP if stop else Ask.SET_CUT

    def hear(event: dict[str, Any]) -> None:
        if not as_json:
            typer.echo(event_line(event))

    said = ask(socket_path(inventory), Request(kind, set_cut or ""), hear)
    said.pop("done")
    if as_json:
        print_json(said)
    elif kind is Ask.STATUS:
        _print_status(said)
    elif kind is Ask.STOP:
        typer.echo(f"{said['stopping']} ends")
    else:
        typer.echo(f"cut {said['cut']} is in use")


def _print_status(said: dict[str, Any]) -> None:
    from slicebed.cli._stream_table import event_line, stream_lines  # noqa: PLC0415 - as above
    from slicebed.run.stream.figures import StreamFigures  # noqa: PLC0415 - as above

    typer.echo(f"{said['campaign']}: {said['folder']}")
    for line in stream_lines(StreamFigures.from_plain(said)):
        typer.echo(line)
    for event in said["timeline"]:
        typer.echo(event_line(event))
