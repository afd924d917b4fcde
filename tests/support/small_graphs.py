"""Small GraphDefs written by hand, so that tests of the executor need none of TensorFlow's Python."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from slicebed_agent.model.execute import encode, tensors

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

FLOAT, INT32 = encode.dtype_attribute(1), encode.dtype_attribute(3)


def whole(value: int) -> bytes:
    return encode.number(3, value)


def wholes(*values: int) -> bytes:
    return encode.message(1, encode.message(3, b"".join(encode.varint(value) for value in values)))


def words(text: str) -> bytes:
    return encode.message(2, text.encode())


@dataclasses.dataclass
class GraphBuilder:
    """Writes nodes one after another; every method returns the name of the tensor it makes."""

    nodes: list[bytes] = dataclasses.field(default_factory=list)

    def node(self, op: str, inputs: tuple[str, ...], name: str = "", **attributes: bytes) -> str:
        made = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(encode.node(made, op, inputs, attributes))
        return f"{made}:0"

    def input(self, *dims: int | None, name: str = "input", code: int = 1) -> str:
        self.nodes.append(encode.placeholder(name, code, dims))
        return f"{name}:0"

    def constant(self, values: npt.ArrayLike, dtype: Any = np.float32, name: str = "") -> str:
        array = np.asarray(values, dtype)
        code = tensors.code_of(array.dtype)
        value = encode.tensor_attribute(code, array.shape, array.tobytes())
        return self.node("Const", (), name, dtype=encode.dtype_attribute(code), value=value)

    def apply(self, op: str, *inputs: str, name: str = "") -> str:
        """An operator of floats without further attributes."""
        return self.node(op, inputs, name, T=FLOAT)

    def convolve(self, tensor: str, filters: npt.ArrayLike, name: str = "", op: str = "Conv2D") -> str:
        attributes = {"T": FLOAT, "strides": wholes(1, 1, 1, 1), "padding": words("SAME")}
        return self.node(op, (tensor, self.constant(filters)), name, **attributes)

    def split(self, tensor: str, parts: int, axis: int = -1) -> tuple[str, ...]:
        made = self.node("Split", (self.constant(axis, np.int32), tensor), T=FLOAT, num_split=whole(parts))
        return tuple(f"{made[:-2]}:{place}" for place in range(parts))

    def unstack(self, tensor: str, parts: int, axis: int = -1) -> tuple[str, ...]:
        made = self.node("Unpack", (tensor,), T=FLOAT, num=whole(parts), axis=whole(axis))
        return tuple(f"{made[:-2]}:{place}" for place in range(parts))

    def stack(self, *parts: str, axis: int = -1) -> str:
        return self.node("Pack", parts, T=FLOAT, N=whole(len(parts)), axis=whole(axis))

    def concat(self, *parts: str) -> str:
        axis = self.constant(-1, np.int32)
        return self.node("ConcatV2", (*parts, axis), T=FLOAT, Tidx=INT32, N=whole(len(parts)))

    def batch_norm(self, tensor: str, channels: int, generator: np.random.Generator, name: str = "") -> str:
        """As Keras writes it for inference: arithmetic on constants, then a product and a sum."""
        variance = self.apply("AddV2", self.constant(generator.uniform(0.5, 1.5, channels)), self.constant(1e-3))
        factors = self.apply("Mul", self.apply("Rsqrt", variance), self.constant(generator.normal(1, 0.1, channels)))
        product = self.apply("Mul", tensor, factors, name=f"{name}/product" if name else "")
        return self.apply("AddV2", product, self.constant(generator.normal(0, 0.1, channels)), name=name)

    def write(self, path: Path) -> Path:
        path.write_bytes(b"".join(self.nodes))
        return path


def classifier(path: Path, seed: int = 7) -> Path:
    """input (B, 8, 8, 3) -> two branches of convolutions with a skip -> ``scores`` (B, 10); 52 kB of weights."""
    generator = np.random.default_rng(seed)
    graph = GraphBuilder()

    def filters(*dims: int) -> npt.NDArray[np.float64]:
        return generator.normal(0, 0.3, dims)

    first = graph.convolve(graph.input(None, 8, 8, 3), filters(3, 3, 3, 16), "first")
    normal = graph.batch_norm(first, 16, generator, "normal")
    stem = graph.apply("Relu", normal, name="stem")
    left = graph.convolve(stem, filters(3, 3, 16, 1), "left", "DepthwiseConv2dNative")
    left = graph.apply("Relu6", graph.batch_norm(left, 16, generator, "left_normal"), name="left_out")
    right = graph.convolve(stem, filters(5, 5, 16, 16), "right")
    joined = graph.apply("AddV2", left, right, name="joined")
    body = graph.apply("Relu", joined, name="body")
    flat = graph.node("Reshape", (body, graph.constant([-1, 1024], np.int32)), "flat", T=FLOAT, Tshape=INT32)
    scores = graph.node("MatMul", (flat, graph.constant(filters(1024, 10))), "logits", T=FLOAT)
    graph.apply("Softmax", scores, name="scores")
    return graph.write(path)
