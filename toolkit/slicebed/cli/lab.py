"""``slicebed lab``: the embedded testbed of this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from slicebed.cli._console import console, print_json

if TYPE_CHECKING:
    from slicebed.lab import LabStatus, WireSetting
    from slicebed.lab.survey import DirectionStatus

app = typer.Typer(help="Raise, look at and remove the embedded testbed.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields instead.")]
TestbedOption = Annotated[
    Path | None, typer.Option("--testbed", "-t", help="The testbed file; default: inventory/testbeds/lab.yml.")
]
DEFAULT_TESTBED = Path("inventory/testbeds/lab.yml")


@app.command()
def up(testbed: TestbedOption = None, *, as_json: JsonOption = False) -> None:
    """Raise the lab and write inventory/lab/hosts.yml; the same lab again changes nothing."""
    from slicebed import lab  # noqa: PLC0415 - the other verbs need not load it
    from slicebed.spec.testbed import load_testbed  # noqa: PLC0415
    from slicebed.testbed.checkout import find_checkout  # noqa: PLC0415

    file = find_checkout().root / DEFAULT_TESTBED if testbed is None else testbed
    result = lab.up(load_testbed(file), root=lab.find_root(file.parent))
    if as_json:
        print_json(
            {
                "changed": result.changed,
                "lab": result.plan.name,
                "wire": result.plan.wire.value,
                "inventory": str(result.inventory),
                "hosts": [{"name": host.name, "address": str(host.management.ip)} for host in result.plan.hosts],
                "duration_s": round(result.duration_s, 3),
            }
        )
        return
    verb = "is up" if result.changed else "was up already; nothing changed"
    typer.echo(f"lab {result.plan.name} {verb} ({result.duration_s:.1f} s); inventory: {result.inventory}")
    _print_status(lab.status())


@app.command()
def down(*, as_json: JsonOption = False) -> None:
    """Remove the lab and everything it left, also after a crash; safe to repeat."""
    from slicebed import lab  # noqa: PLC0415 - the other verbs need not load it

    removed = lab.down()
    if as_json:
        print_json(
            {
                "changed": removed.anything,
                "lab": removed.lab,
                "processes": removed.processes,
                "namespaces": list(removed.namespaces),
                "interfaces": list(removed.interfaces),
                "mounts": list(removed.mounts),
                "cgroups": list(removed.cgroups),
            }
        )
    elif removed.anything:
        typer.echo(
            f"lab {removed.lab or '(remains)'} is down: removed {len(removed.namespaces)} hosts, "
            f"{removed.processes} processes, {len(removed.interfaces)} interfaces"
        )
    else:
        typer.echo("no lab was up; nothing changed")


@app.command()
def status(*, as_json: JsonOption = False) -> None:
    """Show every host and what is set on every wire."""
    from slicebed import lab  # noqa: PLC0415 - the other verbs need not load it

    found = lab.status()
    if as_json:
        print_json(found.as_json())
    else:
        _print_status(found)


@app.command(context_settings={"allow_interspersed_args": False})
def ssh(
    host: Annotated[str, typer.Argument(help="A host of the lab.")],
    command: Annotated[list[str] | None, typer.Argument(help="A command, after --; a shell without.")] = None,
) -> None:
    """Open a shell on a host, or run a command there and end with its exit code.

    One word is given to the host's shell as it is; several words are quoted, so that each arrives as one.
    """
    from slicebed.lab.login import ssh_arguments  # noqa: PLC0415 - the other verbs need not load it

    words = command or []
    if words and words[0] == "--":
        words = words[1:]
    arguments = ssh_arguments(host, words[0] if len(words) == 1 else shlex.join(words))
    os.execvp(arguments[0], arguments)  # noqa: S606 - no shell is wanted


@app.command()
def wire(
    a: Annotated[str, typer.Argument(help="A host.")],
    b: Annotated[str, typer.Argument(help="The host at the other end.")],
    *,
    delay_us: Annotated[int | None, typer.Option(min=0, help="One-way delay.")] = None,
    jitter_us: Annotated[int, typer.Option(min=0, help="Standard deviation of the delay, at most the delay.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Set both directions of a tap wire alike while it runs; without --delay-us, show what is set."""
    from slicebed import lab  # noqa: PLC0415 - the other verbs need not load it
    from slicebed.errors import SpecError  # noqa: PLC0415

    if delay_us is None:
        if jitter_us:
            raise SpecError("--jitter-us sets a wire", mend="give --delay-us too")
        reading, changed = lab.read_wire(a, b), False
    else:
        wanted = lab.wire_setting({"delay_us": delay_us, "jitter_us": jitter_us})
        change = lab.set_wire(a, b, forward=wanted, backward=wanted)
        reading, changed = change.after, change.changed
    if as_json:
        ways = {"forward": reading.forward.to_plain(), "backward": reading.backward.to_plain()}
        print_json({"between": [a, b], "changed": changed, **ways})
    else:
        typer.echo(f"{a} -> {b}: {_describe(reading.forward)}")
        typer.echo(f"{b} -> {a}: {_describe(reading.backward)}")


def _print_status(found: LabStatus) -> None:
    out = console()
    if found.plan is None:
        out.print("no lab is up; slicebed lab up raises one")
        return
    out.print(f"lab {found.plan.name}: {found.health.value}, wire {found.plan.wire.value}")
    hosts = Table("host", "role", "tier", "state", "address", "processes")
    for host in found.hosts:
        state = "up" if host.up else "down"
        hosts.add_row(
            host.plan.name,
            host.plan.role,
            str(host.plan.tier),
            state,
            str(host.plan.management.ip),
            str(host.processes),
        )
    out.print(hosts)
    links = Table("link", "interfaces", "addresses", "forward", "backward")
    for link in found.links:
        links.add_row(
            " - ".join(link.plan.between),
            "\n".join(end.interface for end in link.plan.ends),
            "\n".join(str(end.address.ip) for end in link.plan.ends),
            _describe_shaped(link.forward) if link.problem is None else link.problem,
            _describe_shaped(link.backward) if link.problem is None else "",
        )
    out.print(links)


def _describe(setting: WireSetting | DirectionStatus) -> str:
    lost = f", {100 * setting.loss:g} % lost" if setting.loss else ""
    return f"{setting.delay_us / 1000:g} ms +- {setting.jitter_us / 1000:g} ms{lost}"


def _describe_shaped(found: DirectionStatus | None) -> str:
    if found is None:
        return "unknown"
    rate = "no rate limit" if found.rate_bit_per_s is None else f"{found.rate_bit_per_s / 1e6:g} Mbit/s"
    return f"{_describe(found)}, {rate}"
