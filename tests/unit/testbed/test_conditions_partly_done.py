"""A host that fails does not hide what the others did: real playbooks, whose module answers what the test says."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from slicebed.cli import conditions, main
from slicebed.testbed.checkout import Checkout

REPOSITORY = Path(__file__).parents[3]
TESTBED = """
name: three
hosts:
  aa: {role: client}
  bb: {role: edge, memory: 1 GiB}
  cc: {role: cloud}
links: []
"""
MODULE = """
import json
from pathlib import Path
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"who": {"type": "path"}}, supports_check_mode=True)
answer = json.loads(Path(module.params["who"]).read_text())
module.fail_json(**answer) if "refusal" in answer else module.exit_json(**answer)
"""
PLAY = """
- hosts: testbed
  gather_facts: false
  tasks:
    - {name: Act, answer: {who: "{{ playbook_dir }}/{{ inventory_hostname }}"}%s}
"""
CHANGE = {"part": "workload", "where": "cgroup", "what": "memory.max", "now": "1", "wanted": "2"}
ANSWER = {"changed": True, "slicebed": {"verb": "act", "changes": [CHANGE], "writes": 2, "at_risk": False}}
NO_ANSWER = {"changed": False}


def refusal(asked=None):
    said = {"what": "cannot be read", "where": "/var/lib/original.json", "mend": "move the file away", "asked": asked}
    return {"msg": "no", "refusal": said}


@dataclass(frozen=True)
class OwnPlaybooks(Checkout):
    """The checkout, except for its playbooks."""

    folder: Path = Path()

    @property
    def playbooks(self):
        return self.folder


@pytest.fixture
def slicebed(tmp_path, monkeypatch, capfd):
    (tmp_path / "testbed.yml").write_text(TESTBED)
    local = f"{{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}"
    (tmp_path / "hosts.yml").write_text(f"testbed: {{hosts: {{aa: {local}, bb: {local}, cc: {local}}}}}")
    (tmp_path / "library").mkdir()
    (tmp_path / "library/answer.py").write_text(MODULE)
    for name in ("inspect", "restore"):
        (tmp_path / f"{name}.yml").write_text(PLAY % "")
    (tmp_path / "condition.yml").write_text(PLAY % ", any_errors_fatal: true")
    monkeypatch.setattr(conditions, "find_checkout", lambda: OwnPlaybooks(REPOSITORY, tmp_path))
    monkeypatch.setattr("slicebed.testbed.apply.base_rtts", lambda _: {})

    def run(verb, answers, *options):
        for host, answer in answers.items():
            (tmp_path / host).write_text(json.dumps(answer))
        arguments = [verb, "-t", str(tmp_path / "testbed.yml"), "-i", str(tmp_path / "hosts.yml"), *options]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return ended.value.code, *capfd.readouterr()

    return run


WITH_ONE_DAMAGED = {"aa": refusal(), "bb": ANSWER, "cc": ANSWER}
LINE = "host aa, Act: /var/lib/original.json: cannot be read; move the file away"


@pytest.mark.parametrize(
    ("verb", "done", "options"),
    [
        ("restore", "put back on bb, cc", ()),
        ("restore", "looked at bb, cc", ("--check",)),
        ("drift", "looked at bb, cc", ()),
        ("apply", "applied on bb, cc", ("--no-verify",)),
    ],
)
def test_the_hosts_that_answered_are_shown_and_the_one_that_failed_is_named(slicebed, verb, done, options):
    code, out, err = slicebed(verb, WITH_ONE_DAMAGED, "--json", *options)
    assert code == 5
    said = json.loads(out)
    assert [(row["host"], row["what"]) for row in said["changes"]] == [("bb", "memory.max"), ("cc", "memory.max")]
    assert said["writes"] == {"bb": 2, "cc": 2}
    assert said["failed"] == [{"host": "aa", "error": LINE}]
    assert err.splitlines()[-2:] == [f"slicebed: {LINE}", f"slicebed: {done}"]


def test_a_reader_sees_the_table_of_the_hosts_that_answered(slicebed):
    code, out, _ = slicebed("drift", WITH_ONE_DAMAGED)
    assert (code, "2 properties on 2 hosts" in out) == (5, True)


def test_where_no_host_answered_none_is_named(slicebed):
    code, out, err = slicebed("restore", dict.fromkeys(("aa", "bb", "cc"), refusal()), "--json")
    said = json.loads(out)
    assert (code, said["changes"], [each["host"] for each in said["failed"]]) == (5, [], ["aa", "bb", "cc"])
    assert err.splitlines()[-1] == "slicebed: put back on no host"


def test_where_all_went_well_nothing_failed(slicebed):
    code, out, _ = slicebed("restore", dict.fromkeys(("aa", "bb", "cc"), ANSWER), "--json")
    assert (code, json.loads(out)["failed"]) == (0, [])


def test_a_host_that_cannot_answer_stops_a_plan_and_is_named(slicebed):
    code, out, err = slicebed("plan", {**dict.fromkeys(("bb", "cc"), NO_ANSWER), "aa": refusal()}, "--json")
    assert (code, out) == (5, "")
    assert f"slicebed: {LINE}" in err.splitlines()


def test_what_a_line_of_the_file_asks_in_vain_is_named_by_it_while_no_host_was_changed(slicebed):
    refused = {"aa": NO_ANSWER, "bb": refusal("workload.memory_bytes"), "cc": NO_ANSWER}
    code, _, err = slicebed("apply", refused, "--no-verify")
    assert code == 2
    assert "testbed.yml:5:" in err
    # Of a host's own record the file knows nothing.
    code, _, err = slicebed("drift", {**refused, "aa": ANSWER, "cc": ANSWER})
    assert code == 5
    assert err.splitlines()[-1] == "slicebed: looked at aa, cc"
