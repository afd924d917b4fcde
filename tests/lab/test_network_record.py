"""A host whose record somebody damaged, asked on the host itself: one line that says the way out, and going back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import slicebed_agent

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
# A machine of its own as far as links, the record and the dead-man timer go.
IN_NAMESPACES = """
mount -t tmpfs none /var/lib && mount -t tmpfs none /run
ip link add near type veth peer name far && ip address add 10.77.0.1/24 dev near && ip link set near up
record=/var/lib/slicebed/conditions
ask() { "$PYTHON" -m slicebed_agent.host ask "$@"; }
ask apply "$WISH" >/dev/null || exit 90
"""
WISH = {
    "host": "edge",
    "network": {"links": [{"peer": "p", "peer_address": "10.77.0.2", "condition": {"rate_bit_per_s": 8000000}}]},
}
WAY_OUT = "move the file away to give up what it remembers; the host is then left as it is now"


def on_a_host(script):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(slicebed_agent.__file__).parents[1]),
        "PYTHON": sys.executable,
        "WISH": json.dumps({"wish": WISH}),
    }
    environment.pop("SSH_CONNECTION", None)
    command = ["unshare", "--net", "--mount", "sh", "-c", IN_NAMESPACES + script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_damaged_wish_does_not_keep_the_host_from_going_back():
    done = on_a_host("echo x > $record/wish.json; ask restore >/dev/null || exit 1; ls /var/lib/slicebed; tc qdisc")
    assert (done.returncode, done.stderr) == (0, "")
    assert "conditions" not in done.stdout
    assert "htb" not in done.stdout


@pytest.mark.parametrize("verb", ["restore", "drift"])
@pytest.mark.parametrize("content", ["x", '{"version": 1, "parts": {"network": [1, 2]}}'])
def test_a_damaged_original_is_one_line_with_the_way_out_which_is_one(verb, content):
    done = on_a_host(
        f"echo '{content}' > $record/original.json; ask {verb}; echo $?; mv $record/original.json /run; ask {verb}"
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: /var/lib/slicebed/conditions/original.json: ")
    assert line.endswith(WAY_OUT)
    assert done.stdout.startswith("5\n")
    assert json.loads(done.stdout[2:])["changes"] == []


def test_a_request_that_is_no_mapping_is_one_line():
    done = on_a_host("ask restore '[1]'")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "the request is no mapping" in done.stderr
