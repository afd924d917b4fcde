"""A model on a control machine without TensorFlow: found where it was kept, or a line that says what is missing."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from graphdef_writer import like_nasnet
from without_tensorflow import WithoutTensorflow

from slicebed.split.obtain import obtain_model
from slicebed_agent.model.kept import Kept
from slicebed_agent.model.source import ModelSource


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return WithoutTensorflow(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def kept(bare):
    """What another process, one with TensorFlow, has frozen into the same cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(bare.models.parents[1]))
        patch.setenv("PATH", "")
        told = []
        opened = obtain_model(ModelSource("cnn14"), image=None, say=told.append)
        assert told == []
        return opened.frozen


def test_what_is_kept_is_found_without_tensorflow(bare, kept):
    found = bare.obtain("cnn14")
    assert (found["name"], found["graph_sha256"]) == ("cnn14", kept.card.graph_sha256)
    assert (found["said"], found["imported"]) == ([], [])


def test_of_two_that_other_versions_made_the_last_is_taken(bare, kept):
    (card_path,) = (bare.models / "cards").iterdir()
    fields = json.loads(card_path.read_text())
    newer = card_path.with_name(f"{card_path.name.split('.')[0]}.{16 * 'f'}.json")
    newer.write_text(json.dumps({**fields, "name": "newer"}))
    os.utime(newer, ns=(card_path.stat().st_mtime_ns + 10, card_path.stat().st_mtime_ns + 10))
    assert bare.obtain("cnn14")["name"] == "newer"
    newer.write_text("{")
    assert bare.obtain("cnn14")["name"] == "cnn14"
    newer.unlink()


def test_a_frozen_file_needs_neither(bare, tmp_path):
    path = tmp_path / "mine.pb"
    path.write_bytes(b"".join(like_nasnet(2)))
    found = bare.obtain(path, PATH="")
    assert (found["name"], found["path"], found["said"]) == ("mine", str(path), [])


def test_without_podman_the_line_says_so(bare):
    told = bare.obtain("vgg16", "localhost/slicebed-agent:none", PATH="")
    assert told["kind"] == "MissingRequirementError"
    assert told["error"] == (
        "vgg16: TensorFlow is not installed, nor podman, which would run the agent image;"
        " install podman, or install slicebed[agent]"
    )


@pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup")
@pytest.mark.parametrize("reference", [None, "localhost/slicebed-agent:none"])
def test_without_an_image_the_line_says_so(bare, reference):
    told = bare.obtain("vgg16", reference)
    assert told["kind"] == "MissingRequirementError"
    assert "no agent image; run as root: slicebed image build" in told["error"]
    assert told["said"] == []


def test_an_unknown_model_is_told_as_ever(bare):
    assert "no model 'mobilnet2' in the zoo; nearest: mobilenet_v2" in bare.obtain("mobilnet2")["error"]


def test_a_card_without_its_file_is_none(bare, kept):
    store = Kept(bare.models).store
    kept_file = store.path_of(kept.card.graph_sha256)
    moved = kept_file.rename(kept_file.with_name("moved"))
    try:
        assert "TensorFlow is not installed" in bare.obtain("cnn14", PATH="")["error"]
    finally:
        moved.rename(kept_file)
