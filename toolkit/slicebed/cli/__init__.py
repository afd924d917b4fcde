"""The command line: one verb per file, no logic. Every verb has a function of the same meaning in the packages."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

import typer

from slicebed import __version__
from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="slicebed",
    help="Cut TensorFlow models across real client, edge and cloud hosts, and measure every cut.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    *,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),  # noqa: FBT003 - typer's form
) -> None:
    """Cut TensorFlow models across real client, edge and cloud hosts, and measure every cut."""
    if version:
        typer.echo(f"slicebed {__version__}")
        raise typer.Exit


def _register() -> None:
    # Imported here: each verb's module reads `app`'s conventions from this package.
    from slicebed.cli import (  # noqa: PLC0415
        conditions,
        demo,
        gather,
        image,
        lab,
        model,
        provision,
        report,
        reproduce,
        run,
        search,
        stream,
        verify,
    )

    app.add_typer(lab.app, name="lab", help="The embedded testbed: namespace hosts on this machine.")
    app.add_typer(image.app, name="image", help="The agent image.")
    app.add_typer(model.app, name="model", help="Models, where they may be cut, and their slices.")
    app.command("deploy")(provision.deploy)
    app.command("teardown")(provision.teardown)
    app.command("gather")(gather.gather)
    app.command("plan")(conditions.plan)
    app.command("apply")(conditions.apply)
    app.command("verify")(verify.verify)
    app.command("drift")(conditions.drift)
    app.command("restore")(conditions.restore)
    app.command("doctor")(conditions.doctor)
    app.command("run")(run.run)
    app.command("search")(search.search)
    app.command("stream")(stream.stream)
    app.command("report")(report.report)
    app.command("reproduce")(reproduce.reproduce)
    app.command("demo")(demo.demo)


_register()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error of Slicebed's own ends as one line on stderr and its exit code."""
    # What goes wrong on a connection is said once, as an error of Slicebed's own; without a handler Python would print
    # paramiko's log beside it.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    # A scheduler's SIGTERM deserves the same care as Ctrl-C: agents freed, samples kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(args=arguments, standalone_mode=True)
    except OneLineError as error:
        for line in str(error).splitlines():
            typer.echo(f"slicebed: {line}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        typer.echo(f"slicebed: {error.filename or 'operating system'}: {error.strerror or error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("slicebed: interrupted", err=True)
        sys.exit(130)
