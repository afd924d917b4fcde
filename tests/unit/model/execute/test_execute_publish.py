"""True slices: complete, with their own weights only, and nothing else is ever loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_graphs import GraphBuilder, classifier

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.publish import SliceFolderError, load_slice, read_manifest, write_slice
from slicebed_agent.model.graphdef.errors import ModelFileError
from slicebed_agent.model.graphdef.read import read_graph

if TYPE_CHECKING:
    from pathlib import Path

FRAME = np.random.default_rng(1).standard_normal((2, 8, 8, 3)).astype(np.float32)
CARD = {"name": "small", "inputs": [{"name": "input:0"}], "outputs": [{"name": "scores:0"}]}
BOUNDARIES = (["input:0"], ["left_out:0", "right:0"], ["body:0"], ["scores:0"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "classifier.pb")


@pytest.fixture
def folder(path: Path, tmp_path: Path) -> Path:
    write_slice(path, BOUNDARIES[1], BOUNDARIES[2], tmp_path / "two", card=CARD)
    return tmp_path / "two"


def test_published_slices_in_a_chain_are_the_whole(path: Path, tmp_path: Path) -> None:
    arrays: tuple[np.ndarray, ...] = (FRAME,)
    weights_bytes = 0
    for place in range(3):
        written = write_slice(path, BOUNDARIES[place], BOUNDARIES[place + 1], tmp_path / str(place), card=CARD)
        manifest, part = load_slice(tmp_path / str(place))
        assert manifest == written
        arrays = part.run(arrays)
        weights_bytes += manifest.weights_bytes
    with Executor(path) as executor:
        (expected,) = executor.prepare(["input:0"], ["scores:0"]).run([FRAME])
    np.testing.assert_allclose(arrays[0], expected, rtol=1e-5, atol=1e-7)
    assert weights_bytes == read_graph(path).parameters * 4


def test_a_slice_holds_its_own_weights_only_and_says_what_it_is(folder: Path, path: Path) -> None:
    manifest = read_manifest(folder)
    assert [(port.name, port.tensor, port.dtype, port.shape) for port in manifest.inputs] == [
        ("left_out:0", "left_out:0", "float32", (None, 8, 8, 16)),
        ("right:0", "right:0", "float32", (None, 8, 8, 16)),
    ]
    assert [(port.name, port.tensor) for port in manifest.outputs] == [("body:0", "body:0")]
    assert manifest.model == CARD
    assert (manifest.weights_bytes, manifest.graph_bytes) == (0, (folder / "graph.pb").stat().st_size)
    assert manifest.graph_bytes < 1000 < path.stat().st_size
    own = read_graph(folder / "graph.pb", inputs=["left_out:0", "right:0"], outputs=["body:0"])
    assert [operator.name for operator in own.operators] == ["left_out", "right", "joined", "body"]
    assert own.tensors()["body:0"].shape == (None, 8, 8, 16)


def test_an_output_of_an_operator_with_several_keeps_its_neighbours_name(tmp_path: Path) -> None:
    graph = GraphBuilder()
    _one, two = graph.split(graph.input(None, 4), 2)
    graph.apply("Relu", two, name="out")
    path = graph.write(tmp_path / "split.pb")
    manifest = write_slice(path, [two], ["out:0"], tmp_path / "slice")
    assert manifest.inputs[0].name == two
    assert manifest.inputs[0].tensor == "split_2_output_1:0"
    _, part = load_slice(tmp_path / "slice")
    assert part.run([np.array([[-1, 2]], np.float32)])[0].tolist() == [[0, 2]]
    with pytest.raises(PayloadError, match="split_2_output_1:0"):
        part.run([np.zeros((1, 3), np.float32)])


def test_a_host_that_only_passes_on_has_a_folder_too(path: Path, tmp_path: Path) -> None:
    write_slice(path, ["body:0"], ["body:0"], tmp_path / "pass")
    manifest, part = load_slice(tmp_path / "pass")
    body = np.ones((3, 8, 8, 16), np.float32)
    assert part.run([body])[0] is body
    assert manifest.weights_bytes == 0


@pytest.mark.parametrize("name", ["graph.pb", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "edited", "missing", "longer"])
def test_a_damaged_folder_is_never_loaded(folder: Path, name: str, damage: str) -> None:
    file = folder / name
    content = file.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        file.unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes({"truncated": content[:-1], "edited": flipped, "longer": content + b"x"}[damage])
    if (name, damage) == ("manifest.json", "truncated"):
        file.write_bytes(content[:-3])  # the very last byte is only a line's end
    with pytest.raises(SliceFolderError) as caught:
        load_slice(folder)
    assert name in str(caught.value)
    assert "slicebed model slice" in str(caught.value)


def test_an_edited_figure_in_the_manifest_is_found(folder: Path) -> None:
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    content["outputs"][0]["tensor"] = "joined:0"
    file.write_text(json.dumps(content))
    with pytest.raises(SliceFolderError, match="it was edited"):
        load_slice(folder)


@pytest.mark.parametrize(
    ("feeds", "fetches", "told"),
    [
        (["nowhere:0"], ["body:0"], "no tensor 'nowhere:0'"),
        (["left_out:0"], ["body:0"], "also needs input"),
        (["body:0"], ["stem:0"], "also needs input"),
    ],
)
def test_a_cut_that_cannot_be_leaves_no_folder(
    path: Path, tmp_path: Path, feeds: list[str], fetches: list[str], told: str
) -> None:
    with pytest.raises(AgentConfigError, match=told):
        write_slice(path, feeds, fetches, tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_a_file_that_shrinks_meanwhile_leaves_no_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "short.pb"
    short.write_bytes(path.read_bytes())

    def shrink(*args: object) -> object:
        found = read_graph(short)
        with short.open("r+b") as file:
            file.truncate(30_000)
        return found

    monkeypatch.setattr("slicebed_agent.model.execute.publish.read_graph", lambda *_args, **_more: shrink())
    with pytest.raises(ModelFileError, match="became shorter"):
        write_slice(short, ["input:0"], ["scores:0"], tmp_path / "none")
    assert [each.name for each in tmp_path.iterdir()] == ["short.pb"]


def test_what_exists_is_not_overwritten(path: Path, folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(AgentConfigError, match="exists already"):
        write_slice(path, ["input:0"], ["stem:0"], folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_writing_a_slice_needs_no_tensorflow(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['tensorflow'] = None\n"
        "from slicebed_agent.model.execute.publish import write_slice, read_manifest\n"
        "write_slice(Path(sys.argv[1]), ['stem:0'], ['body:0'], Path(sys.argv[2]))\n"
        "print(read_manifest(Path(sys.argv[2])).weights_bytes)\n"
        "print('libtensorflow' in Path('/proc/self/maps').read_text())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "slice"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [str(read_graph(tmp_path / "slice" / "graph.pb").parameters * 4), "False"]


def test_the_same_slice_is_the_same_bytes(path: Path, tmp_path: Path, folder: Path) -> None:
    write_slice(path, BOUNDARIES[1], BOUNDARIES[2], tmp_path / "again", card=CARD)
    for name in ("graph.pb", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
