"""How this host's kernel sends and receives TCP: settings of the network namespace, read, planned and written.

Every setting here belongs to a network namespace, so that a host which is one (the embedded lab's) has its own.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change
from slicebed_agent.host.state import GIVE_UP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slicebed_agent.host.wish import TcpWish

# An interface's name holds no blank, so that no saved device can be taken for a setting.
_SAVED = "sysctl "
_FOLDER = Path("/proc/sys/net/ipv4")
_PREFIX = "net.ipv4."
SLOW_START, RECEIVE, SEND = "tcp_slow_start_after_idle", "tcp_rmem", "tcp_wmem"
CONGESTION, ALLOWED = "tcp_congestion_control", "tcp_allowed_congestion_control"
_WRITTEN = (SLOW_START, RECEIVE, SEND, CONGESTION)
# Every ten seconds these let their window down to four packets for 200 ms (bbr_update_min_rtt in tcp_bbr.c).
_PROBING = frozenset({"bbr"})
_STEADY = ("cubic", "reno")


@dataclass(frozen=True)
class Setting:
    """One setting gets a text.

    Attributes:
        name: of the file below ``net.ipv4``.
        before: what was found, its words apart by one blank.
        text: what it shall hold.
    """

    name: str
    before: str
    text: str

    def change(self, part: str) -> Change:
        """As a reader of a plan sees it."""
        return Change(part, "tcp", f"{_PREFIX}{self.name}", self.before, self.text)


def names(wish: TcpWish | None) -> Collection[str]:
    """Give what the wish speaks of, by the names that `save` uses."""
    return [] if wish is None else [_SAVED + name for name in _WRITTEN]


def read() -> dict[str, str]:
    """Read the settings of this network namespace; one that the kernel does not have there is left out."""
    found = {}
    for name in (*_WRITTEN, ALLOWED):
        with suppress(FileNotFoundError):
            found[name] = " ".join((_FOLDER / name).read_text(encoding="ascii").split())
    return found


def plan(wish: TcpWish | None, found: Mapping[str, str]) -> tuple[Setting, ...]:
    """Say which settings change for a wish.

    Buffers are only ever raised; a window is kept through pauses; an algorithm that lets its window down to probe gives
    way to the first one allowed here that does not. Others are left as they are.

    Args:
        wish: None asks for nothing.
        found: what `read` gave.

    Raises:
        HostError: the kernel lacks a setting, or the algorithm that would be needed.
    """
    if wish is None:
        return ()
    if lacking := [name for name in (*_WRITTEN, ALLOWED) if name not in found]:
        raise HostError(
            f"this kernel has no {', '.join(_PREFIX + name for name in lacking)} of a network namespace's own",
            where="tcp",
            mend="use Linux 4.15 or newer, or leave tcp: streaming out",
        )
    wanted = {
        SLOW_START: "0",
        RECEIVE: _raised(found[RECEIVE], wish.receive_bytes),
        SEND: _raised(found[SEND], wish.send_bytes),
        CONGESTION: _steady(found[CONGESTION], found[ALLOWED].split()),
    }
    return _differing(found, wanted)


def save(wanted: Iterable[str], found: Mapping[str, str]) -> dict[str, Any]:
    """Give what `plan_restore` needs, of the names that are settings."""
    settings = [name for name in wanted if name.startswith(_SAVED)]
    return {name: {"text": found[bare]} for name in settings if (bare := name.removeprefix(_SAVED)) in found}


def plan_restore(saved: Mapping[str, Any], found: Mapping[str, str]) -> tuple[Setting, ...]:
    """Say what puts back the settings among what was saved.

    Raises:
        HostError: what was saved is damaged.
    """
    wanted = {}
    for name, original in saved.items():
        if not name.startswith(_SAVED):
            continue
        bare = name.removeprefix(_SAVED)
        text = original.get("text") if isinstance(original, dict) else None
        if bare not in _WRITTEN or not isinstance(text, str):
            raise HostError("the saved original is not as Slicebed writes it", where=name, mend=GIVE_UP)
        wanted[bare] = text
    return _differing(found, wanted)


def write(settings: Sequence[Setting]) -> None:
    """Write them in order, or none.

    Raises:
        HostError: the kernel refused one; those before it are as they were.
    """
    for index, setting in enumerate(settings):
        try:
            (_FOLDER / setting.name).write_text(f"{setting.text}\n", encoding="ascii")
        except OSError as error:
            put_back(settings[:index])
            raise HostError(
                f"the kernel refused {_PREFIX}{setting.name} = {setting.text}: {error.strerror}",
                where="tcp",
                mend="run as root where /proc/sys may be written",
            ) from error


def put_back(settings: Sequence[Setting]) -> None:
    """Write what each of them was before.

    Raises:
        OSError: the kernel refused what it had held.
    """
    for setting in reversed(settings):
        (_FOLDER / setting.name).write_text(f"{setting.before}\n", encoding="ascii")


def _differing(found: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[Setting, ...]:
    return tuple(Setting(name, found[name], text) for name, text in wanted.items() if found.get(name, text) != text)


def _raised(text: str, most_bytes: int) -> str:
    least, default, most = text.split()
    return f"{least} {default} {max(int(most), most_bytes)}"


def _steady(now: str, allowed: Collection[str]) -> str:
    if now not in _PROBING:
        return now
    for name in _STEADY:
        if name in allowed:
            return name
    raise HostError(
        f"{_PREFIX}{CONGESTION} is {now}, and none of {', '.join(_STEADY)} is allowed here",
        where="tcp",
        mend=f"add one to {_PREFIX}{ALLOWED} (modprobe tcp_cubic), or leave tcp: streaming out",
    )
