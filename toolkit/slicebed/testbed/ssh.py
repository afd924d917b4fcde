"""SSH to a host (fabric over paramiko): host keys checked, one held connection."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabric import Connection
from paramiko import RejectPolicy
from paramiko.ssh_exception import SSHException

from slicebed.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.testbed.inventory import InventoryHost

_CONNECT_TIMEOUT_S = 10


@contextmanager
def ssh_connection(host: InventoryHost) -> Iterator[Connection]:
    """Open a connection, closed at the end of the `with` block.

    Host keys are checked against the known_hosts file of the inventory (or the user's own); an unknown key is refused.

    Raises:
        ProvisionError: no SSH connection, an unknown host key, or a refused login.
    """
    keys: dict[str, Any] = {"key_filename": str(host.key_file), "look_for_keys": False} if host.key_file else {}
    ssh = Connection(
        host.address, user=host.user, port=host.port, connect_timeout=_CONNECT_TIMEOUT_S, connect_kwargs=keys
    )
    # fabric itself would add an unknown key; a testbed's hosts are known before anything is sent to them.
    ssh.client.set_missing_host_key_policy(RejectPolicy())
    try:
        ssh.client.load_host_keys(str(host.known_hosts or Path("~/.ssh/known_hosts").expanduser()))
        ssh.open()
    except (OSError, SSHException) as error:
        raise ProvisionError(
            f"no SSH connection to {host.user}@{host.address}:{host.port}: {error}", where=f"host {host.name}"
        ) from error
    try:
        yield ssh
    finally:
        ssh.close()
