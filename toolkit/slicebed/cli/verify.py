"""`slicebed verify`: asked against measured, with verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slicebed.cli._console import console, print_json
from slicebed.cli._options import InventoryOption, OnlyOption, TestbedOption  # noqa: TC001 - typer reads them
from slicebed.cli.conditions import JsonOption, open_player

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.testbed.verify.verdict import Verdict

CsvOption = Annotated[Path | None, typer.Option("--csv", help="Also write the verdicts to this file as CSV.")]


def verify(
    *,
    testbed: TestbedOption,
    inventory: InventoryOption = None,
    only: OnlyOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every directed pair of hosts, clocks and limits. Exit code 6 when anything is not as asked."""
    from slicebed.testbed.apply import verify_target  # noqa: PLC0415 - numpy, which --help need not wait for
    from slicebed.testbed.verify.table import to_csv  # noqa: PLC0415 - as above

    with open_player(testbed, inventory, only, "verify") as player:
        verdicts = verify_target(player.target, player.say)
    if csv is not None:
        csv.write_text(to_csv(verdicts))
    if as_json:
        print_json({"verdicts": [verdict.to_plain() for verdict in verdicts]})
    show_verdicts(verdicts, quiet=as_json)


def show_verdicts(verdicts: Sequence[Verdict], *, quiet: bool) -> None:
    """Print the table unless quiet, and end with exit code 6 when a verdict failed."""
    from slicebed.testbed.verify.table import links_table, other_lines, summary  # noqa: PLC0415 - as above

    if not quiet:
        out = console()
        if any(" -> " in verdict.link for verdict in verdicts):
            out.print(links_table(verdicts))
        for line in (*other_lines(verdicts), summary(verdicts)):
            out.print(line)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(6)
