"""The archive that goes to hosts: complete by itself, and the same as long as its files are."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile

from slicebed.testbed.checkout import Checkout
from slicebed.testbed.host_tools import ARCHIVE, CHECKSUM, build_host_tools


def test_the_archive_runs_on_a_python_with_nothing_installed(tmp_path):
    folder = build_host_tools(Checkout(tmp_path))
    with tarfile.open(folder / ARCHIVE) as archive:
        archive.extractall(tmp_path / "host")  # noqa: S202 - our own; Debian 12 has no filter yet
    everything = (
        "import importlib, pkgutil, sys; sys.path.insert(0, sys.argv[1]); import slicebed_agent.host as host\n"
        "for found in pkgutil.walk_packages(host.__path__, 'slicebed_agent.host.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        "from slicebed_agent.host import verbs; print(sorted(verbs.handlers()))"
    )
    # Isolated and without site-packages: what is not in the archive is the standard library's.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", everything, tmp_path / "host" / "lib"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"plan", "apply", "restore", "run_probe"} <= set(json.loads(done.stdout.replace("'", '"')))


def test_the_same_files_make_the_same_archive(tmp_path):
    first = build_host_tools(Checkout(tmp_path / "a"))
    second = build_host_tools(Checkout(tmp_path / "b"))
    assert (first / ARCHIVE).read_bytes() == (second / ARCHIVE).read_bytes()
    assert (first / CHECKSUM).read_text() == (second / CHECKSUM).read_text()
