"""Shapes and dtypes are those of the tensors that TensorFlow computes, for one frame and for two."""

from __future__ import annotations

import warnings

import pytest

from slicebed_agent.model.graphdef.read import read_graph

IMAGE = (None, 12, 10, 6)
ROWS = (None, 24)


def _cases(tf):
    """By name: the input's shape and what is computed from it; some answer with several tensors."""
    raw, nn = tf.raw_ops, tf.nn
    ones = tf.ones
    image = {
        "conv_same": lambda x: nn.conv2d(x, ones((3, 2, 6, 5)), (2, 3), "SAME"),
        "conv_valid": lambda x: nn.conv2d(x, ones((3, 2, 6, 5)), (2, 3), "VALID"),
        "conv_dilated": lambda x: raw.Conv2D(
            input=x, filter=ones((3, 3, 6, 2)), strides=[1, 1, 1, 1], padding="VALID", dilations=[1, 2, 2, 1]
        ),
        "conv_explicit": lambda x: nn.conv2d(x, ones((3, 3, 6, 2)), 2, [[0, 0], [1, 2], [0, 3], [0, 0]]),
        "conv_groups": lambda x: nn.conv2d(x, ones((3, 3, 2, 6)), 1, "SAME"),
        "conv_transposed": lambda x: nn.conv2d_transpose(x, ones((3, 3, 4, 6)), (tf.shape(x)[0], 24, 20, 4), 2),
        "depthwise": lambda x: nn.depthwise_conv2d(x, ones((3, 3, 6, 2)), (1, 2, 2, 1), "SAME"),
        "max_pool": lambda x: nn.max_pool2d(x, 3, 2, "VALID"),
        "max_pool_same": lambda x: nn.max_pool2d(x, 3, 2, "SAME"),
        "avg_pool": lambda x: nn.avg_pool2d(x, (2, 3), (2, 1), "SAME"),
        "batch_norm": lambda x: raw.FusedBatchNormV3(
            x=x, scale=ones(6), offset=ones(6), mean=ones(6), variance=ones(6), is_training=False
        )[0],
        "bias": lambda x: nn.bias_add(x, ones(6)),
        "lrn": nn.lrn,
        "leaky": nn.leaky_relu,
        "relu6": nn.relu6,
        "swish": lambda x: x * tf.sigmoid(x),
        "mean": lambda x: tf.reduce_mean(x, (1, 2)),
        "mean_keep": lambda x: tf.reduce_mean(x, (1, -2), keepdims=True),
        "max": lambda x: tf.reduce_max(x, 3),
        "sum_all_but_batch": lambda x: tf.reduce_sum(x, (1, 2, 3)),
        "concat": lambda x: tf.concat([x, nn.relu(x), x[..., :2]], -1),
        "concat_space": lambda x: tf.concat([x, x], 1),
        "pad": lambda x: tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0))),
        "pad_value": lambda x: tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0)), constant_values=1.0),
        "mirror": lambda x: tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0)), "REFLECT"),
        "flatten": lambda x: tf.reshape(x, (tf.shape(x)[0], -1)),
        "flatten_fixed": lambda x: tf.reshape(x, (-1, 720)),
        "merge_batch": lambda x: tf.reshape(x, (-1, 6)),
        "shuffle": lambda x: tf.reshape(tf.transpose(tf.reshape(x, (-1, 12, 10, 2, 3)), (0, 1, 2, 4, 3)), tf.shape(x)),
        "transpose": lambda x: tf.transpose(x, (0, 3, 1, 2)),
        "batch_last": lambda x: tf.transpose(x, (3, 1, 2, 0)),
        "expand": lambda x: tf.expand_dims(x, -2),
        "squeeze": lambda x: tf.squeeze(tf.reduce_mean(x, (1, 2), keepdims=True), (1, 2)),
        "slice_mask": lambda x: x[:, 1:-1:2, ::-1, 2],
        "slice_ellipsis": lambda x: x[..., tf.newaxis, 3:],
        "slice_op": lambda x: tf.slice(x, (0, 1, 2, 0), (-1, 4, -1, 3)),
        "split": lambda x: tf.split(x, 3, 3),
        "split_sizes": lambda x: tf.split(x, (1, -1, 2), 3),
        "unstack": lambda x: tf.unstack(x, axis=3),
        "stack": lambda x: tf.stack([x, x], 1),
        "tile": lambda x: tf.tile(x, (1, 2, 1, 3)),
        "gather": lambda x: tf.gather(x, (0, 2, 2), axis=2),
        "resize": lambda x: tf.compat.v1.image.resize_bilinear(x, (7, 9)),
        "resize_twice": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, tf.shape(x)[1:3] * 2),
        "to_batch": lambda x: tf.space_to_batch(x, (2, 2), ((0, 0), (1, 1))),
        "there_and_back": lambda x: nn.conv2d(x, ones((3, 3, 6, 4)), 1, "SAME", dilations=2),
        "atrous": lambda x: tf.compat.v1.nn.convolution(x, ones((3, 3, 6, 4)), padding="SAME", dilation_rate=(2, 2)),
        "depth": lambda x: nn.space_to_depth(x, 2),
        "space": lambda x: nn.depth_to_space(x[..., :4], 2),
        "filled": lambda x: x + tf.fill(tf.shape(x), 2.0),
        "like": lambda x: tf.zeros_like(x) + tf.ones(tf.shape(x)[1:]),
        "broadcast": lambda x: x * tf.cast(tf.reshape(tf.range(10), (10, 1)), tf.float32),
        "where": lambda x: tf.where(x > 1.0, x, tf.zeros_like(x)),
        "cast": lambda x: tf.cast(x, tf.float16),
        "uint8": lambda x: tf.cast(tf.clip_by_value(x, 0.0, 255.0), tf.uint8),
        "argmax": lambda x: tf.argmax(x, 3),
        "shape": tf.shape,
        "size64": lambda x: tf.shape(x, tf.int64)[0:2],
        "add_n": lambda x: tf.add_n([x, x, x]),
        "squared": lambda x: tf.math.squared_difference(x, 1.0),
    }
    rows = {
        "matmul": lambda x: tf.matmul(x, ones((24, 7))),
        "matmul_turned": lambda x: tf.matmul(x, ones((7, 24)), transpose_b=True),
        "softmax": nn.softmax,
        "log_softmax": nn.log_softmax,
        "top": lambda x: list(nn.top_k(x, 3)),
        "attention": lambda x: tf.matmul(tf.reshape(x, (-1, 4, 6)), tf.reshape(x, (-1, 4, 6)), adjoint_b=True),
        "bools": lambda x: tf.logical_and(x > 0.0, x < 1.0),
        "normalised": lambda x: tf.math.l2_normalize(x, 1),
        "identity_n": lambda x: list(tf.identity_n([x, x[:, :3]])),
    }
    return {name: (IMAGE, make) for name, make in image.items()} | {name: (ROWS, make) for name, make in rows.items()}


@pytest.fixture(scope="module")
def tf():
    from slicebed_agent.model.runtime import tensorflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensorflow()


def test_every_operator_has_the_shapes_that_tensorflow_computes(tf, tmp_path):
    """All cases in one test: the import costs more than they do."""
    import numpy as np

    for name, (shape, make) in _cases(tf).items():
        with tf.Graph().as_default() as graph:
            x = tf.compat.v1.placeholder(tf.float32, shape, name="x")
            made = make(x)
            made = made if isinstance(made, list) else [made]
            # A case may answer with the last of several outputs: an answer of its own stands behind each.
            outputs = [tf.identity(tensor, name=f"answer_{place}") for place, tensor in enumerate(made)]
            path = tmp_path / f"{name}.pb"
            path.write_bytes(graph.as_graph_def().SerializeToString())
            with tf.compat.v1.Session(graph=graph) as session:
                one, two = (
                    session.run([*made, *outputs], {x: np.ones((batch, *shape[1:]), np.float32)}) for batch in (1, 2)
                )
        read = read_graph(path, outputs=[tensor.name for tensor in outputs])
        tensors = read.tensors()
        for tensor, single, double in zip([*made, *outputs], one, two, strict=True):
            found = tensors[tensor.name]
            open_shape = tuple(a if a == b else None for a, b in zip(single.shape, double.shape, strict=True))
            assert found.shape == open_shape, (name, tensor.name)
            assert found.dtype == str(single.dtype), (name, tensor.name)
            assert (found.elements, found.bytes_per_frame) == (single.size, single.nbytes), (name, tensor.name)
