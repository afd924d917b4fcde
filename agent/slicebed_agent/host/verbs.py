"""What can be asked of a host, in one table: the Ansible module and the held channel both call it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.conditions import CONFIRM_WITHIN_S, ORDER, Conditions, Connection, Outcome
from slicebed_agent.host.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.host.change import Part


def handlers() -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Every verb of this host, by name."""
    from slicebed_agent.host import measure  # noqa: PLC0415 - a plan has no need of it

    return {
        "plan": plan,
        "apply": apply,
        "confirm": confirm,
        "drift": drift,
        "restore": restore,
        "put_back": put_back,
        "summary": summary,
        "keep_base_rtt": keep_base_rtt,
        "doctor": doctor,
        "delivered": delivered,
        "limits": limits,
        "held": held,
        **measure.HANDLERS,
    }


def plan(request: dict[str, Any]) -> dict[str, Any]:
    """``{"wish"}`` -> what applying it would change."""
    return _conditions(_host_of(request["wish"])).plan(request["wish"]).to_plain()


def apply(request: dict[str, Any]) -> dict[str, Any]:
    """``{"wish", "confirm_within_s"}`` -> what was changed, and the token for ``confirm`` when a timer runs.

    With ``on_loan_to``, a name, limits hold until ``put_back``.
    """
    within_s = _seconds(request.get("confirm_within_s", CONFIRM_WITHIN_S))
    wish, on_loan_to = request["wish"], request.get("on_loan_to")
    conditions = _conditions(_host_of(wish))
    return conditions.apply(wish, confirm_within_s=within_s, on_loan_to=on_loan_to).to_plain()


def confirm(request: dict[str, Any]) -> dict[str, Any]:
    """``{"token"}`` -> nothing; the dead-man timer is stopped."""
    Conditions({}, connection=_connection()).confirm(str(request["token"]))
    return {}


def drift(request: dict[str, Any]) -> dict[str, Any]:
    """-> what is no longer as it was applied, and whether anything was applied at all."""
    del request
    conditions = _conditions(_host_of(State().wish()))
    return {**conditions.drift().to_plain(), **conditions.summary()}


def restore(request: dict[str, Any]) -> dict[str, Any]:
    """``{"only": [parts], "check"}`` -> what was (or would be) put back."""
    only = request.get("only")
    if only is not None and not set(only) <= set(ORDER):
        raise HostError(f"unknown part in {only}", mend=f"allowed: {', '.join(ORDER)}")
    return _conditions(_saved_host(State())).restore(only, check=bool(request.get("check"))).to_plain()


def put_back(request: dict[str, Any]) -> dict[str, Any]:
    """-> to whom limits were on loan, None where to nobody, and what was put back as it was before."""
    del request
    state = State()
    by = state.loan().get("by")
    if by is None:
        return {**Outcome().to_plain(), "on_loan_to": None}
    host = _saved_host(state) or _host_of(state.wish())
    return {**_conditions(host).put_back().to_plain(), "on_loan_to": by}


def summary(request: dict[str, Any]) -> dict[str, Any]:
    """-> what this host remembers of its conditions, and the checksum of the tools it runs."""
    del request
    mark = Path(__file__).parents[3] / "host-tools.sha256"
    return {**Conditions({}).summary(), "tools": mark.read_text() if mark.is_file() else None}


def keep_base_rtt(request: dict[str, Any]) -> dict[str, Any]:
    """``{"rtt_us": {address: microseconds}}`` -> nothing; a first measure stays."""
    measured = {str(peer): float(rtt) for peer, rtt in request["rtt_us"].items()}
    state = State()
    with state.locked():
        state.keep_base_rtt_us(measured)
    return {}


def doctor(request: dict[str, Any]) -> dict[str, Any]:
    """``{"host"}`` -> what can and what cannot be applied here, found by trial."""
    from slicebed_agent.host.capabilities import capabilities  # noqa: PLC0415 - a plan has no need of it

    host = str(request.get("host", socket.gethostname()))
    return {"capabilities": [found.to_plain() for found in capabilities(host)]}


def delivered(request: dict[str, Any]) -> dict[str, Any]:
    """``{"seconds"}`` -> the frequency that each online core delivers under load."""
    from slicebed_agent.host.delivered import sample_frequency  # noqa: PLC0415 - a plan has no need of it

    seconds = _seconds(request["seconds"])
    return {"frequencies": [sample_frequency(core, seconds).to_plain() for core in sorted(os.sched_getaffinity(0))]}


def limits(request: dict[str, Any]) -> dict[str, Any]:
    """``{"host", "seconds"}`` -> the workload's quota by trial, its memory and cores; how many processes have it."""
    from slicebed_agent.host.cpu.sysfs import parse_cores  # noqa: PLC0415 - a plan has no need of it
    from slicebed_agent.host.delivered import sample_quota  # noqa: PLC0415 - as above
    from slicebed_agent.host.workload.part import Workload  # noqa: PLC0415 - as above

    host = str(request["host"])
    processes = Workload(host).processes()
    quota = sample_quota(host, _seconds(request["seconds"]))
    # By the file's own name, which differs between the versions of control groups.
    held = {name.rpartition("/")[2]: str(text).strip() for name, text in Workload(host).save().items()}
    memory = held.get("memory.max", held.get("memory.limit_in_bytes", ""))
    return {
        "cpu_quota": quota.to_plain(),
        "memory_bytes": int(memory) if memory.isdecimal() else None,
        "cores": list(parse_cores(held.get("cpuset.cpus", ""))),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "processes": processes,
    }


def held(request: dict[str, Any]) -> dict[str, Any]:
    """``{"host"}`` -> how many processes the workload's limits hold for."""
    from slicebed_agent.host.workload.part import Workload  # noqa: PLC0415 - a plan has no need of it

    return {"processes": Workload(str(request["host"])).processes()}


def _conditions(host: str | None) -> Conditions:
    return Conditions(_parts(host), connection=_connection())


def _connection() -> Connection:
    from slicebed_agent.host.network.control import control_devices  # noqa: PLC0415 - each verb pays for what it uses

    return Connection(os.environ.get("SSH_CONNECTION", ""), control_devices())


def _parts(host: str | None) -> dict[str, Part]:
    from slicebed_agent.host.cpu.part import Cpu  # noqa: PLC0415 - as above
    from slicebed_agent.host.network.part import Network  # noqa: PLC0415
    from slicebed_agent.host.workload.part import Workload  # noqa: PLC0415

    # The inventory's name for this machine, which its own may not be.
    return {"cpu": Cpu(), "workload": Workload(host or socket.gethostname()), "network": Network()}


def _host_of(wish: object) -> str | None:
    host = wish.get("host") if isinstance(wish, dict) else None
    return None if host is None else str(host)


def _saved_host(state: State) -> str | None:
    """The name under which the workload's group was saved: going back needs no wish, which may be lost or damaged."""
    for name in state.original().get("workload", {}):
        for part in name.split("/"):
            if part.startswith("slicebed."):
                return part.removeprefix("slicebed.")
    return None


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
        raise HostError(f"{value} s", mend="allowed: more than 0 to 3600 s")
    return float(value)


def restore_from(directory: Path) -> None:
    """What the dead-man timer does when nobody confirms."""
    state = State(directory)
    Conditions(_parts(_saved_host(state)), state).restore()
