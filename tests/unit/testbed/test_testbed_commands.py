"""Tools that Slicebed stands on are run as they should be, whatever standard input the command itself has."""

from __future__ import annotations

import os
import subprocess
import sys

_ASK = """
import sys
from slicebed.testbed.commands import run_tool
print(run_tool([sys.executable, "-c", "import os; print(os.get_blocking(0), repr(os.read(0, 1)))"]), end="")
"""


def test_a_tool_neither_asks_anything_nor_sees_a_standard_input_that_does_not_block():
    """Ansible refuses one, which any process that shares it may have made so."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        done = subprocess.run([sys.executable, "-c", _ASK], stdin=reading, capture_output=True, text=True, check=True)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.stdout == "True b''\n"
