"""What a process that runs one slice costs, and how many threads it takes: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from small_graphs import classifier

from slicebed_agent.model.execute.memory import resident
from slicebed_agent.model.execute.publish import write_slice

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import json, os, sys
from pathlib import Path
os.sched_setaffinity(0, json.loads(sys.argv[2]))
from slicebed_agent.model.execute.memory import resident
from slicebed_agent.model.execute.publish import load_slice
manifest, part = load_slice(Path(sys.argv[1]))
part.run([boundary.blank(1) for boundary in part.feeds])
tasks = Path("/proc/self/task").iterdir()
names = [(task / "comm").read_text().strip() for task in tasks]
used = resident()
print(json.dumps({
    "workers": names.count("tf_Compute"),
    "bytes": used.bytes, "anonymous": used.anonymous_bytes, "file": used.file_bytes, "peak": used.peak_bytes,
    "weights": manifest.weights_bytes,
    "python_of_tensorflow": "tensorflow" in sys.modules or "keras" in sys.modules,
}))
"""


def run(folder: Path, cores: set[int]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, folder, json.dumps(sorted(cores))], capture_output=True, text=True, check=True
    )
    return dict(json.loads(ran.stdout))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_slice(classifier(folder / "classifier.pb"), ["stem:0"], ["scores:0"], folder / "slice")
    return folder / "slice"


def test_a_process_with_one_slice_holds_its_weights_and_less_than_300_mb(folder: Path) -> None:
    used = run(folder, os.sched_getaffinity(0))
    assert used["bytes"] - used["weights"] < 300e6
    assert used["bytes"] == pytest.approx(used["anonymous"] + used["file"], rel=0.1)
    assert used["bytes"] < used["peak"]
    assert not used["python_of_tensorflow"]


@pytest.mark.parametrize("count", [1, 2])
def test_threads_are_as_many_as_cores_may_be_used(folder: Path, count: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        pytest.skip(f"this process may use {len(cores)} cores only")
    assert run(folder, set(cores[:count]))["workers"] == count


def test_memory_of_another_process_is_told() -> None:
    assert 0 < resident(os.getppid()).bytes <= resident(os.getppid()).peak_bytes
    with pytest.raises(OSError, match="No such file"):
        resident(2**30)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("sys.modules['tensorflow'] = None", "TensorFlow is not installed; install slicebed[agent]"),
        ("capi._SIGNATURES['TF_Nothing'] = (None, ())", "undefined symbol: TF_Nothing; install a tensorflow wheel"),
        ("capi._LIBRARIES = ('libnone.so',)", "libnone.so: cannot open shared object file"),
    ],
)
def test_a_tensorflow_that_cannot_be_used_is_one_line(before: str, told: str) -> None:
    code = (
        "import sys\n"
        "from slicebed_agent.errors import AgentError\n"
        "from slicebed_agent.model.execute import capi\n"
        f"{before}\n"
        "try:\n    capi.library()\n"
        "except AgentError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told in ran.stdout
    assert len(ran.stdout.splitlines()) == 1
