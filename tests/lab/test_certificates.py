"""Certificates on lab hosts: carried by the role, readable by the agent alone, the same the second time."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from slicebed_command import REPOSITORY, SLICEBED, on

from slicebed import lab
from slicebed.spec.testbed import load_testbed

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.timeout(300),
]
HOSTS = ("near", "far")
FOLDER = "/var/lib/slicebed/agent/tls"
TESTBED = """
name: certificates_test
hosts: {near: {role: client}, far: {role: cloud}}
links: [{between: [near, far], one_way: 0 ms}]
lab: {management: 10.193.0.0/24, data: 10.192.0.0/16}
"""
# The part of the role that needs no image.
PLAYBOOK = """
- hosts: testbed
  gather_facts: false
  vars: {agent_image: {}}
  tasks:
    - ansible.builtin.file: {path: "{{ agent_state_directory }}", state: directory, mode: "0755"}
      vars: {agent_state_directory: /var/lib/slicebed/agent}
    - ansible.builtin.import_role: {name: agent, tasks_from: certificate}
"""


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")
    path = tmp_path_factory.mktemp("testbed") / "testbed.yml"
    path.write_text(TESTBED)
    lab.up(load_testbed(path), root=REPOSITORY)
    yield
    lab.down(root=REPOSITORY)


@pytest.fixture
def carry(raised, tmp_path):
    """Play the certificates' part of the role; what Ansible said, with the count of changes over all hosts."""
    playbook = tmp_path / "certificates.yml"
    playbook.write_text(PLAYBOOK)
    # `inventory` and module_utils of ansible.cfg stand beside it.
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def play(*options):
        command = [SLICEBED.with_name("ansible-playbook"), "-i", "inventory/lab/hosts.yml", playbook, *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return sum(map(int, re.findall(r"changed=(\d+)", done.stdout))), done.stdout

    return play


def files(host):
    return on(host, "sh", "-c", f"cd {FOLDER} && stat -c '%n %a %u' * && sha256sum *")


def test_every_host_gets_its_own_and_nobody_else_can_read_it(carry, tmp_path):
    changed, said = carry("--check", "--diff")
    assert changed
    assert not (tmp_path / "state").exists()
    changed, said = carry("--diff", "-v")
    assert changed
    assert "PRIVATE KEY" not in said
    before = {host: files(host) for host in HOSTS}
    for host in HOSTS:
        assert [line for line in before[host].splitlines() if ".pem " in line and len(line) < 40] == [
            f"{name}.pem 600 64071" for name in ("ca", "cert", "key")
        ]
        told = on(host, "openssl", "x509", "-in", f"{FOLDER}/cert.pem", "-noout", "-subject", "-ext", "subjectAltName")
        assert f"CN = {host}\n" in told
        assert f"DNS:{host}\n" in told
        assert on(host, "openssl", "verify", "-CAfile", f"{FOLDER}/ca.pem", f"{FOLDER}/cert.pem").endswith(": OK\n")
    assert carry()[0] == 0
    assert {host: files(host) for host in HOSTS} == before


def test_a_deleted_authority_is_made_anew_for_all(carry, tmp_path):
    carry()
    before = {host: files(host) for host in HOSTS}
    (next((tmp_path / "state/slicebed/tls").iterdir()) / "ca.pem").unlink()
    assert carry()[0]
    for host in HOSTS:
        assert files(host) != before[host]
        assert on(host, "openssl", "verify", "-CAfile", f"{FOLDER}/ca.pem", f"{FOLDER}/cert.pem").endswith(": OK\n")
