"""`slicebed plan`, `apply`, `drift`, `restore` and `doctor`: the conditions of a testbed's hosts and links."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from slicebed.cli._console import console, print_json
from slicebed.cli._options import InventoryOption, OnlyOption, TestbedOption, inventory_of
from slicebed.errors import InterruptedRunError
from slicebed.run.taken import hosts_taken
from slicebed.testbed.checkout import find_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.testbed.conditions import Outcome, Player

JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON; fields in docs/conditions.md.")]
ControlPathOption = Annotated[
    bool,
    typer.Option("--shape-control-path", help="Allow a link that SSH itself runs over; the dead-man timer guards."),
]
ConfirmOption = Annotated[
    float, typer.Option("--confirm-within", help="Seconds until the dead-man timer restores an unconfirmed host.")
]
NoVerifyOption = Annotated[bool, typer.Option("--no-verify", help="Apply and read back, but measure nothing.")]


def plan(
    *,
    testbed: TestbedOption,
    inventory: InventoryOption = None,
    only: OnlyOption = None,
    shape_control_path: ControlPathOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what apply would change, per host and per directed link; changes nothing."""
    from slicebed.testbed.apply import kept_base_rtts  # noqa: PLC0415 - numpy, which --help need not wait for

    with open_player(testbed, inventory, only, "plan", shape_control_path=shape_control_path) as player:
        base_rtt_us = kept_base_rtts(player.target)
        outcome = player.plan(player.target.asked(base_rtt_us, before_measuring=True))
    for link in player.target.uncompensated(base_rtt_us):
        text = (
            f"{link.a} - {link.b}: compensate: apply measures the unshaped round trip first and takes it off the delays"
        )
        console(stderr=True).print(text, style="dim")
    _show(outcome, "would change", "nothing would change", as_json=as_json, wires=_wires(player))


def apply(
    *,
    testbed: TestbedOption,
    inventory: InventoryOption = None,
    only: OnlyOption = None,
    shape_control_path: ControlPathOption = False,
    confirm_within_s: ConfirmOption = 30.0,
    no_verify: NoVerifyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Save the original state on every host, apply, and verify by measuring. Twice changes nothing."""
    from slicebed.cli.verify import show_verdicts  # noqa: PLC0415 - numpy, which --help need not wait for
    from slicebed.testbed.apply import apply_target  # noqa: PLC0415 - as above

    with (
        open_player(testbed, inventory, only, "apply", shape_control_path=shape_control_path) as player,
        _shown_when_partly_done("changed", as_json=as_json, more={"verdicts": None}),
    ):
        applied = apply_target(player, confirm_within_s, verify=not no_verify)
    if as_json:
        verdicts = None if applied.verdicts is None else [each.to_plain() for each in applied.verdicts]
        print_json({**_plain(applied.outcome), "verdicts": verdicts})
    else:
        _show(applied.outcome, "changed", "nothing changed", as_json=False, wires=_wires(player))
    if applied.verdicts is not None:
        show_verdicts(applied.verdicts, quiet=as_json)


def drift(*, testbed: TestbedOption, inventory: InventoryOption = None, as_json: JsonOption = False) -> None:
    """Say what somebody changed since apply: now, and as it was applied. Exit code 6 when there is any."""
    from slicebed.testbed.apply import kept_base_rtts  # noqa: PLC0415 - numpy, which --help need not wait for

    with (
        open_player(testbed, inventory, None, "drift") as player,
        _shown_when_partly_done("drifted", as_json=as_json),
    ):
        outcome = player.drift(player.target.asked(kept_base_rtts(player.target), before_measuring=True))
    _show(outcome, "drifted", "no drift", as_json=as_json, wires=None)
    if outcome.changes:
        raise typer.Exit(6)


def restore(
    *,
    testbed: TestbedOption,
    inventory: InventoryOption = None,
    only: OnlyOption = None,
    check: Annotated[bool, typer.Option("--check", help="Say what would be put back, and change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put back the state that apply found, exactly, from what each host saved. Safe to repeat."""
    title = "would go back" if check else "put back"
    with (
        open_player(testbed, inventory, only, "restore") as player,
        _shown_when_partly_done(title, as_json=as_json),
    ):
        outcome = player.restore(player.target.asked({}, before_measuring=True), check=check)
    _show(outcome, title, "nothing to put back", as_json=as_json, wires=None)


def doctor(*, testbed: TestbedOption, inventory: InventoryOption = None, as_json: JsonOption = False) -> None:
    """Say what can be applied on every host and what cannot, and why; found by trial."""
    with open_player(testbed, inventory, None, "doctor") as player:
        found = player.doctor()
    if as_json:
        print_json({"hosts": found})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("capability", *found):
        table.add_column(title, overflow="fold")
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for host, capabilities in found.items():
        for each in capabilities:
            rows.setdefault(each["name"], {})[host] = each
    for name, by_host in rows.items():
        table.add_row(name, *(_mark(by_host.get(host)) for host in found))
    out = console()
    out.print(table)
    reasons = {(row["name"], row["detail"]) for by in rows.values() for row in by.values() if not row["available"]}
    for name, detail in sorted(reasons):
        out.print(f"{name}: {detail}", style="dim")


@contextmanager
def open_player(
    testbed: Path, inventory: Path | None, only: Sequence[str] | None, verb: str, *, shape_control_path: bool = False
) -> Iterator[Player]:
    """Read testbed and inventory, take the hosts for this command, and show what goes on."""
    from slicebed.testbed.conditions import Player  # noqa: PLC0415 - paramiko, which --help need not wait for
    from slicebed.testbed.target import load_target  # noqa: PLC0415 - as above

    checkout = find_checkout()
    hosts = inventory_of(checkout, inventory)
    parts = frozenset(only) if only else None
    target = load_target(checkout, testbed, hosts, parts, shape_control_path=shape_control_path)
    with hosts_taken(hosts, target.neighbours, beside_stream=True), console(stderr=True).status(verb) as status:
        try:
            yield Player(target, status.update)
        except KeyboardInterrupt as stop:
            mend = "hosts may be changed in part: apply again, or restore" if verb in {"apply", "restore"} else None
            raise InterruptedRunError("interrupted", where=verb, mend=mend) from stop


@contextmanager
def _shown_when_partly_done(title: str, *, as_json: bool, more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Show what the hosts that answered said, before the error of those that failed."""
    from slicebed.testbed.conditions import PartlyDoneError  # noqa: PLC0415 - paramiko, which --help need not wait for

    try:
        yield
    except PartlyDoneError as error:
        if as_json:
            print_json({**_plain(error.outcome), **(more or {})})
        elif error.outcome.changed:
            _show(error.outcome, title, "", as_json=False, wires=None)
        raise


def _wires(player: Player) -> str | None:
    kinds = {link.wire for host in player.target.hosts.values() for link in host.links}
    if kinds <= {"netem"}:
        return None
    return (
        f"wires: {', '.join(sorted(kinds))}. This lab's kernel has no netem: rates are set in the hosts (HTB); delay, "
        "jitter, loss and duplicates on the userspace wires between them."
    )


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "changes": list(outcome.changes),
        "writes": dict(outcome.writes),
        "at_risk": list(outcome.at_risk),
        "failed": [{"host": each.host, "error": each.error} for each in outcome.failed],
    }


def _show(outcome: Outcome, title: str, none: str, *, as_json: bool, wires: str | None) -> None:
    if as_json:
        print_json(_plain(outcome))
        return
    out = console()
    if wires:
        out.print(wires, style="dim")
    if not outcome.changed:
        out.print(none)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("host", "where", "property", "now", "wanted"):
        table.add_column(name, overflow="fold")
    for row in outcome.changes:
        table.add_row(row["host"], row["where"], row["what"], _value(row["now"]), _value(row["wanted"]))
    out.print(table)
    hosts = len({row["host"] for row in outcome.changes})
    out.print(f"{title}: {len(outcome.changes)} properties on {hosts} hosts, {sum(outcome.writes.values())} writes")
    for host in outcome.at_risk:
        out.print(f"{host}: touches the interface that carries SSH; the dead-man timer guards it", style="yellow")


def _value(value: object) -> str:
    return "-" if value is None else str(value)


def _mark(capability: dict[str, Any] | None) -> str:
    if capability is None:
        return "-"
    return f"[green]yes[/] {capability['detail']}" if capability["available"] else "[red]no[/]"
