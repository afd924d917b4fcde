"""What a reader is told when a playbook cannot reach a host: one line with the reason and how to mend it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from slicebed.errors import ProvisionError
from slicebed.testbed.checkout import Checkout
from slicebed.testbed.playbook import Playbook, _Heard, run_playbook

REPOSITORY = Path(__file__).parents[3]
MEND = "check that the host is up and that ssh reaches it with the inventory's address, key and known_hosts"
CHANGED_KEY = """Failed to connect to the host via ssh: @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r
Offending ED25519 key in known_hosts:3\r
Host key verification failed.\r
"""
NOISY_DENIAL = """Failed to connect to the host via ssh: OpenSSH_9.2p1\r
Warning: Permanently added '10.0.0.1' (ED25519) to the list of known hosts.\r
root@10.0.0.1: Permission denied (publickey).\r
debug1: Exit status 255\r
"""


def test_a_host_that_is_not_there_is_one_line_with_the_reason_and_the_mend(tmp_path):
    (tmp_path / "hosts.yml").write_text("testbed: {hosts: {near: {ansible_host: 127.0.0.1, ansible_port: 1}}}")
    play = Playbook("restore.yml", tmp_path / "hosts.yml", tmp_path / "artifacts")
    with pytest.raises(ProvisionError) as caught:
        run_playbook(Checkout(REPOSITORY), play, lambda _: None)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("host near, ")
    assert line.endswith(f": unreachable: ssh: connect to host 127.0.0.1 port 1: Connection refused; {MEND}")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (CHANGED_KEY, "Host key verification failed."),
        (NOISY_DENIAL, "root@10.0.0.1: Permission denied (publickey)."),
        ("Connection timed out.", "Connection timed out."),
        ("Failed to connect to the host via ssh: ", "ssh gave no reason"),
    ],
)
def test_of_all_that_ssh_says_the_reason_is_left(said, reason):
    heard = _Heard(lambda _: None)
    data = {"host": "near", "task": "Look", "res": {"msg": said, "unreachable": True}}
    heard.on_event({"event": "runner_on_unreachable", "event_data": data})
    assert [str(failure) for failure in heard.failures] == [f"host near, Look: unreachable: {reason}; {MEND}"]


def test_what_a_killed_process_left_of_its_playbooks_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, in_use, other = (
        tmp_path / name
        for name in (f"slicebed-ansible-{gone.pid}-a", f"slicebed-ansible-{os.getppid()}-b", "slicebed-ansible-c")
    )
    for folder in (left, in_use, other):
        (folder / "artifacts").mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("testbed: {hosts: {near: {ansible_host: 127.0.0.1, ansible_port: 1}}}")
    with pytest.raises(ProvisionError, match="unreachable"):
        run_playbook(Checkout(REPOSITORY), Playbook("restore.yml", tmp_path / "hosts.yml"), lambda _: None)
    assert sorted(tmp_path.glob("slicebed-ansible-*")) == sorted([in_use, other])


_BEGIN = """
import sys
from pathlib import Path
from slicebed.testbed.checkout import Checkout
from slicebed.testbed.playbook import Playbook, run_playbook
run_playbook(Checkout(Path(sys.argv[1])), Playbook("restore.yml", Path(sys.argv[2])), lambda task: None)
"""


def _commands_about(inventory):
    """Processes that were told of this inventory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(inventory) in words:
            found.append(int(entry.parent.name))
    return found


def test_ansible_ends_with_a_command_that_is_killed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"{{ansible_host: 127.0.0.1, ansible_port: {silent.getsockname()[1]}}}"
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(f"testbed: {{hosts: {{near: {host}}}}}")
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", _BEGIN, str(REPOSITORY), str(inventory)]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        silent.settimeout(60)
        # Ansible is at work: its ssh has called, and is not answered.
        called, _ = silent.accept()
        with called:
            assert set(_commands_about(inventory)) > {process.pid}
            process.kill()
            process.wait()
            until = time.monotonic() + 20
            while _commands_about(inventory) and time.monotonic() < until:
                time.sleep(0.05)
            assert not _commands_about(inventory)
