"""The camera's images, and what the whole model says about them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError, AgentError, PayloadError
from slicebed_agent.model import codec
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.slice import Boundary
from slicebed_agent.model.reference import Images, References, pool_of

FLOAT = np.dtype(np.float32)


@pytest.fixture(scope="module")
def digits_seen(cnn14):
    with Executor(cnn14.path) as executor:
        return References().of(cnn14.sha256, executor, cnn14.ends[:1], (Images.DIGITS, cnn14.ends[-1], 4))


def _random(shape, batch, dtype=FLOAT):
    return pool_of(Images.RANDOM, [Boundary("image:0", np.dtype(dtype), shape)], batch)


def test_frames_are_drawn_by_seed(digits_seen):
    pool = digits_seen.pool
    assert np.array_equal(pool.draw(7, 3, 16), pool.draw(7, 3, 16))
    assert not np.array_equal(pool.draw(7, 3, 16), pool.draw(7, 4, 16))
    assert not np.array_equal(pool.draw(7, 3, 16), pool.draw(8, 3, 16))
    assert len(set(pool.draw(7, 0, 359))) == 359
    assert np.array_equal(digits_seen.draw(7, 3, 16)[0], pool.images[0][pool.draw(7, 3, 16)])


def test_a_wrong_answer_is_seen(digits_seen):
    drawn = digits_seen.pool.draw(7, 0, 8)
    answer = digits_seen.outputs[drawn].copy()
    agreement = digits_seen.compare(drawn, codec.encode([answer]))
    assert (agreement.labels_equal, agreement.max_abs_error, agreement.max_rel_error) == (8, 0, 0)
    assert 6 <= agreement.labels_correct <= 8
    answer[0] = np.roll(answer[0], 1)
    agreement = digits_seen.compare(drawn, codec.encode([answer]))
    assert agreement.labels_equal == 7
    assert agreement.max_abs_error > 0.1
    # Relative to the largest value of the whole model's answer, as the bar is: a model of logits is held to the same.
    assert agreement.max_rel_error == pytest.approx(agreement.max_abs_error / np.max(digits_seen.outputs[drawn]))
    answer[1, 0] = np.nan
    with pytest.raises(PayloadError, match="no numbers"):
        digits_seen.compare(drawn, codec.encode([answer]))
    for wrong in (answer[:4], answer.astype(np.float64), answer[:, :5]):
        with pytest.raises(PayloadError, match=r"expected float32 \(8, 10\)"):
            digits_seen.compare(drawn, codec.encode([wrong]))


def test_of_an_early_answer_the_labels_are_compared_and_nothing_else(digits_seen):
    drawn = digits_seen.pool.draw(7, 0, 8)
    answer = digits_seen.outputs[drawn] * 3 - 1
    agreement = digits_seen.compare(drawn, codec.encode([answer]), early=True)
    assert (agreement.labels_equal, agreement.max_abs_error, agreement.max_rel_error) == (8, None, None)
    assert 6 <= agreement.labels_correct <= 8
    assert digits_seen.compare(drawn, codec.encode([answer.astype(np.float64)]), early=True).labels_equal == 8
    for wrong in (answer[:4], answer[:, :5]):
        with pytest.raises(PayloadError, match=r"expected float32 \(8, 10\)"):
            digits_seen.compare(drawn, codec.encode([wrong]), early=True)


def test_images_that_are_not_of_the_pool_are_left_out(digits_seen):
    drawn = np.array([5, -1, 9])
    answer = digits_seen.outputs[[5, 0, 9]]
    agreement = digits_seen.compare(drawn, codec.encode([answer]))
    assert (agreement.images, agreement.labels_equal, agreement.max_abs_error) == (2, 2, 0)


@pytest.mark.parametrize("nothing", [b"", b"\xff"])
def test_what_is_no_tensor_is_no_answer(digits_seen, nothing):
    with pytest.raises(PayloadError):
        digits_seen.compare(np.array([1]), nothing)


def test_random_frames_are_the_same_on_every_host_and_for_every_batch():
    few, many = _random((None, 4, 4, 3), 2), _random((None, 4, 4, 3), 20)
    assert (len(few), len(many)) == (8, 20)
    assert few.labels is None
    assert np.array_equal(few.images[0], many.images[0][:8])
    assert len(np.unique(many.images[0][:, 0, 0, 0])) == 20
    assert few.images[0].dtype == FLOAT
    other = pool_of(Images.RANDOM, [Boundary("depth:0", FLOAT, (None, 4, 4, 3))], 2)
    assert not np.array_equal(other.images[0], few.images[0])


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int32", 0, 9), ("bool", 0, 1)])
def test_random_frames_of_whole_numbers_are_colours_or_indices(dtype, low, high):
    (images,) = _random((None, 32, 32), 1, dtype).images
    assert images.dtype == np.dtype(dtype)
    assert (images.min(), images.max()) == (low, high)


def test_a_model_of_several_inputs_is_fed_a_row_of_each():
    feeds = [Boundary("left:0", FLOAT, (None, 3)), Boundary("right:0", np.dtype(np.int64), (None,))]
    pool = pool_of(Images.RANDOM, feeds, 4)
    assert [array.shape for array in pool.images] == [(8, 3), (8,)]


def test_a_fixed_batch_is_kept():
    assert _random((3, 5), 3).images[0].shape == (8, 5)
    with pytest.raises(AgentConfigError, match=r"batch size 2; image:0 takes float32 \(3, 5\)"):
        _random((3, 5), 2)


def test_a_shape_that_nobody_knows_is_refused():
    with pytest.raises(AgentError, match="shape of image:0 is not known"):
        _random((None, None, 3), 1)


@pytest.mark.parametrize(
    "feeds",
    [
        [Boundary("x:0", FLOAT, (None, 224, 224, 3))],
        [Boundary("x:0", np.dtype(np.float64), (None, 28, 28, 1))],
        [Boundary("x:0", FLOAT, (None, 28, 28, 1)), Boundary("y:0", FLOAT, (None, 28, 28, 1))],
    ],
    ids=["large", "double", "two"],
)
def test_digits_are_for_a_model_that_takes_them(feeds):
    with pytest.raises(AgentConfigError, match=r"digits are float32 \(B, 28, 28, 1\); ask for random"):
        pool_of(Images.DIGITS, feeds, 1)


def test_more_digits_than_there_are_is_refused():
    with pytest.raises(AgentConfigError, match=r"batch size 360; give 1\.\.359"):
        pool_of(Images.DIGITS, [Boundary("x:0", FLOAT, (None, 28, 28, 1))], 360)


def test_the_whole_model_is_asked_once_for_the_same_question(cnn14, branching):
    references = References()

    def ask(model, feeds, *wanted):
        with Executor(model.path) as executor:
            return references.of(model.sha256, executor, feeds, wanted)

    feeds, answer = branching.boundaries[0], branching.boundaries[-1][0]
    first = ask(branching.model, feeds, Images.RANDOM, answer, 2)
    assert ask(branching.model, feeds, Images.RANDOM, answer, 5) is first
    assert ask(branching.model, feeds, Images.RANDOM, answer, 9) is not first
    again = ask(branching.model, feeds, Images.RANDOM, answer, 3)
    assert again is not first
    assert np.allclose(again.outputs, first.outputs, atol=1e-6)
    assert ask(cnn14, cnn14.ends[:1], Images.RANDOM, cnn14.ends[-1], 1).pool.labels is None
    assert ask(cnn14, cnn14.ends[:1], Images.DIGITS, cnn14.ends[-1], 1).pool.labels is not None


@pytest.mark.parametrize("answer", ["place:0", "left:0", "sign:0", "mixed:0"])
def test_any_tensor_with_a_row_for_each_image_may_be_the_answer(branching, answer):
    with Executor(branching.model.path) as executor:
        whole = References().of("m", executor, branching.boundaries[0], (Images.RANDOM, answer, 3))
    drawn = whole.pool.draw(1, 1, 3)
    agreement = whole.compare(drawn, codec.encode([whole.outputs[drawn]]))
    assert (agreement.labels_equal, agreement.labels_correct, agreement.max_abs_error) == (3, None, 0)


def test_a_model_whose_answers_are_no_numbers_is_refused(tf, tmp_path):
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 2), "image")
        tf.math.log(-tf.abs(image) - 1.0, name="answer")
    path = tmp_path / "nan.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with (
        Executor(path) as executor,
        pytest.raises(AgentConfigError, match=re.escape("answer:0 holds values that are no")),
    ):
        References().of("m", executor, ["image:0"], (Images.RANDOM, "answer:0", 1))
