"""What a terminal shows while TensorFlow loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADING = {
    "library": "from slicebed_agent.model.execute.capi import library; library()",
    "package": "from slicebed_agent.model.runtime import tensorflow; tensorflow().constant(1)",
}
MEANWHILE = """
import os
from slicebed_agent.model.runtime import without_talk
with without_talk():
    os.write(2, b"I0000 00:00:1 somebody.cc:1] for information\\n")
    os.write(2, b"another thread's words\\n")
os.write(2, b"I0000 of our own\\n")
"""


@pytest.mark.parametrize("way", LOADING)
def test_nothing_is_said_while_tensorflow_loads(way):
    done = subprocess.run([sys.executable, "-c", LOADING[way]], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_others_say_meanwhile_is_not_lost():
    done = subprocess.run([sys.executable, "-c", MEANWHILE], capture_output=True, text=True, check=True)
    assert done.stderr == "another thread's words\nI0000 of our own\n"


def test_a_process_without_stderr_loads_all_the_same():
    done = subprocess.run(["sh", "-c", f"'{sys.executable}' -c '{LOADING['library']}' 2>&-"], check=False)
    assert done.returncode == 0
