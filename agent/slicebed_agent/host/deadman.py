"""The dead-man timer: a process on the host that takes every condition back unless a fresh SSH connection says stop.

It lives apart from the connection that started it: a condition that cuts off the control machine ends by itself.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError, OneLineError

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = Path("/run/slicebed")
# Of a small host that is busy with a run: Python's own start takes it seconds.
START_TIMEOUT_S = 40.0
_START_POLL_S = 0.02
_POLL_S = 0.1
RESTORE_ATTEMPTS = 20
RESTORE_PAUSE_S = 3.0


class DeadMan:
    """The timer of one host; there is at most one, and a newer one takes the place of an older.

    Attributes:
        directory: a folder that does not survive a reboot: neither do the conditions.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.directory = directory
        self._file = directory / "deadman.json"

    def arm(self, within_s: float, connection: str, state_directory: Path) -> str:
        """Start the timer; returns, once it runs, the token that `confirm` takes.

        Args:
            within_s: seconds until the conditions are taken back.
            connection: the SSH connection under way, which may not confirm itself (SSH_CONNECTION).
            state_directory: where the state is that would be restored.

        Raises:
            HostError: the timer did not start; nothing was changed.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        token = secrets.token_hex(16)
        self._write({"token": token, "within_s": within_s, "connection": connection, "running": False})
        argv = [sys.executable, "-m", "slicebed_agent.host", "deadman", "--token", token]
        argv += ["--directory", str(self.directory), "--state", str(state_directory)]
        # The modules come from wherever this process has them, be it PYTHONPATH or a module runner's own path.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with (self.directory / "deadman.log").open("a") as log:
            timer = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True, cwd="/"
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self._read() or {}).get("running"):
            if timer.poll() is not None or time.monotonic() > deadline:
                raise HostError(
                    "the dead-man timer did not start", where=str(self._file), mend="see deadman.log beside it"
                )
            time.sleep(_START_POLL_S)
        return token

    def confirm(self, token: str, connection: str) -> None:
        """Stop the timer.

        Raises:
            HostError: there is no such timer (it has run out), or the connection is the one that armed it.
        """
        found = self._read()
        if found is None or found.get("token") != token:
            raise HostError(
                "no dead-man timer waits for this confirmation",
                where=str(self._file),
                mend="it has run out and the host was restored; see deadman.log beside it",
            )
        if connection and found.get("connection") == connection:
            raise HostError(
                "a confirmation must come over a fresh SSH connection",
                where=f"connection {connection}",
                mend="an old connection may live on where no new one gets through",
            )
        if not self._take():
            raise HostError("the dead-man timer has just run out: the host is being restored", where=str(self._file))

    def is_running(self) -> bool:
        """Whether a timer waits to be confirmed."""
        return self._file.exists()

    def disarm(self) -> None:
        """Stop the timer, if there is one: the act that it guarded is undone."""
        self._file.unlink(missing_ok=True)

    def wait(self, token: str, restore: Callable[[], Any]) -> bool:
        """Be the timer: wait, then restore unless confirmed or replaced; says whether it restored."""
        found = self._read()
        if found is None or found.get("token") != token:
            return False
        deadline = time.monotonic() + float(found["within_s"])
        self._write({**found, "running": True, "pid": os.getpid()})
        while time.monotonic() < deadline:
            time.sleep(_POLL_S)
            if (self._read() or {}).get("token") != token:
                return False
        if not self._take():
            return False
        for attempt in range(RESTORE_ATTEMPTS):
            try:
                restore()
            except OneLineError as error:
                _log(f"not restored, attempt {attempt + 1} of {RESTORE_ATTEMPTS}: {error}")
                time.sleep(RESTORE_PAUSE_S)
            else:
                _log(f"not confirmed within {found['within_s']} s: restored")
                return True
        return False

    def _take(self) -> bool:
        """Take the timer's file away; of a confirmation and the timer itself, one alone succeeds."""
        try:
            self._file.rename(self._file.with_suffix(".ended"))
        except FileNotFoundError:
            return False
        return True

    def _read(self) -> dict[str, Any] | None:
        try:
            content = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        return content if isinstance(content, dict) else None

    def _write(self, content: dict[str, Any]) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.replace(self._file)


def _log(text: str) -> None:
    print(f"{time.strftime('%FT%TZ', time.gmtime())} {text}", flush=True)  # noqa: T201 - its log
