"""Opening an experiment's model: what is wrong is told with its place, before a lab or an image is asked for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from small_graphs import GraphBuilder

from slicebed.errors import MissingRequirementError, SpecError
from slicebed.run.campaign import Wanted, run_campaign
from slicebed.run.progress import Progress
from slicebed.run.sliced_model import open_experiment
from slicebed.spec.experiment import load_experiment
from slicebed.testbed.checkout import Checkout
from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import runtime

ROOT = Path(__file__).parents[3]
_TEXT = (ROOT / "experiments" / "dnn_slicing.yml").read_text(encoding="utf-8")
_BETWEEN = _TEXT[_TEXT.index("\nchain:") : _TEXT.index("\ncuts:")].replace("images: digits", "images: random")
_AFTER = _TEXT[_TEXT.index("\nconfigurations:") :]
TESTBED = ROOT / "inventory" / "testbeds" / "lab.yml"

# Keras' own code and this numpy disagree; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def write(tmp_path):
    """Write an experiment of a model and cuts; the model stands in line 3."""

    def write_it(model, cuts):
        path = tmp_path / "my.yml"
        text = f"name: mine\ntestbed: {TESTBED}\nmodel: {model}{_BETWEEN}\ncuts: {cuts}\n{_AFTER}"
        path.write_text(text, encoding="utf-8")
        return load_experiment(path)

    return write_it


@pytest.fixture(scope="module")
def keras():
    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        return runtime.tensorflow().keras


@pytest.fixture(scope="module")
def models(keras, tmp_path_factory):
    """A folder of Keras files: two inputs that meet; two outputs; one input of open size."""
    folder = tmp_path_factory.mktemp("models")
    one, other = keras.Input((4,), name="ia"), keras.Input((3,), name="ib")
    left, right = keras.layers.Dense(5, name="left")(one), keras.layers.Dense(5, name="right")(other)
    meet = keras.layers.Add(name="meet")([left, right])
    last = keras.layers.Dense(2, name="last")(keras.layers.Dense(4, name="middle")(meet))
    keras.Model([one, other], last).save(folder / "multiin.keras")
    keras.Model(one, [keras.layers.Dense(2, name="p")(left), keras.layers.Dense(3, name="q")(left)]).save(
        folder / "multiout.keras"
    )
    image = keras.Input((None, None, 1), name="image")
    keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image)).save(folder / "open.keras")
    (folder / "short.keras").write_bytes((folder / "multiin.keras").read_bytes()[:999])
    return folder


@pytest.fixture
def opened(write, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda model, cuts: open_experiment(write(model, cuts), image=None, say=lambda _: None)[1]


def test_a_model_of_several_inputs_is_fed_all_of_them(opened, models):
    model = opened(f"{{name: {models}/multiin.keras, input: [ia, ib]}}", "[[meet, middle]]")
    (cut,) = model.boundaries
    (fed, meet), *_ = model.slices(cut)
    assert [name.split(":")[0] for name in fed] == ["ia", "ib"]
    assert len(meet) == 1
    swapped = opened(f"{{name: {models}/multiin.keras, input: [ib, ia]}}", "[[meet, middle]]")
    assert swapped.slices(cut)[0][0] == fed[::-1]


def test_a_frozen_graph_of_several_inputs_is_fed_all_of_them(opened, tmp_path):
    builder = GraphBuilder()
    both = (builder.input(None, 3, name="ia"), builder.input(None, 3, name="ib"))
    meet = builder.apply("AddV2", *both, name="meet")
    builder.apply("Tanh", builder.apply("Relu", meet, name="middle"), name="last")
    builder.write(tmp_path / "net.pb")
    (slices,) = opened("{name: net.pb, input: [ia, ib]}", "[[meet, middle]]").boundaries.values()
    assert slices == (("ia:0", "ib:0"), ("meet:0",), ("middle:0",), ("last:0",))
    with pytest.raises(AgentConfigError) as caught:
        opened("net.pb", "[[meet, middle]]")
    assert str(caught.value) == (
        f"{tmp_path}/my.yml:3:1: model: {tmp_path}/net.pb: several inputs: ia:0, ib:0; name all under input:, in a list"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("name: {}/multiin.keras", "2 inputs: ia, ib; name all under input:, in a list"),
        ("name: {}/multiin.keras, input: ia", "it takes ia, ib; name every input under input:, in a list"),
        ("name: {}/multiin.keras, input: [ia, ic]", "no input 'ic'; nearest: ib, ia"),
        ("name: {}/multiout.keras", "2 outputs: p, q; name one under output:"),
        ("name: {}/open.keras", "input image leaves sizes open: (None, None, 1); give input_shape:"),
        ("name: {}/short.keras", "; save it again with model.save(...)"),
    ],
)
def test_a_model_that_cannot_be_opened_is_one_line_with_its_place(opened, models, tmp_path, settings, line):
    with pytest.raises(AgentConfigError) as caught:
        opened(f"{{{settings.format(models)}}}", "[[meet, middle]]")
    told = str(caught.value)
    path = settings.format(models).removeprefix("name: ").partition(",")[0]
    assert told.startswith(f"{tmp_path}/my.yml:3:1: model: {path}: ")
    assert told.endswith(line)
    assert "--" not in told
    assert caught.value.exit_code == 2


@pytest.fixture
def run(tmp_path, write):
    """Run an experiment where no lab is up, and perhaps no image built."""

    def run_it(model, cuts, *, image):
        if image:
            (tmp_path / "build").mkdir(exist_ok=True)
            facts = dict.fromkeys(("reference", "id", "dependencies", "application", "base"), "none")
            (tmp_path / "build" / "image.json").write_text(json.dumps(facts))
        wanted = Wanted(write(model, cuts), tmp_path / "none.yml", tmp_path / "results")
        run_campaign(Checkout(tmp_path), wanted, Progress())

    return run_it


@pytest.mark.parametrize("image", [False, True])
def test_a_mistake_of_the_experiment_is_told_before_what_the_machine_lacks(run, tmp_path, image):
    with pytest.raises(SpecError) as caught:
        run("cnn14", "[[conv2d, dens], [dense, conv2d]]", image=image)
    wrong, backwards = str(caught.value).splitlines()
    lines = (tmp_path / "my.yml").read_text().splitlines()
    place = f"{tmp_path}/my.yml:{1 + next(n for n, line in enumerate(lines) if line.startswith('cuts'))}"
    assert wrong.startswith(f"{place}:8: no split point is named 'dens'; the nearest are ")
    assert backwards.startswith(f"{place}:24: ")
    assert " lies before " in backwards
    (tmp_path / "short.pb").write_bytes(b"\x0a\x7f")
    with pytest.raises(AgentConfigError, match=r"my\.yml:3:1: model: .*short\.pb"):
        run("short.pb", "[[a, b]]", image=image)
    assert not (tmp_path / "results").exists()


def test_of_a_right_experiment_it_is_told_what_the_machine_lacks(run, tmp_path):
    with pytest.raises(MissingRequirementError, match="the agent image is not built"):
        run("cnn14", '["1-8"]', image=False)
    with pytest.raises(MissingRequirementError, match=r"none\.yml: no such inventory"):
        run("cnn14", '["1-8"]', image=True)
    assert not (tmp_path / "results").exists()
