"""Small graphs for tests of cut algorithms: from a list of lines, or any at all."""

from __future__ import annotations

from hypothesis import strategies as st

from slicebed_agent.model.graph import Constant, Graph, Operator, Tensor


def tensor(name, size=4):
    return Tensor(name, "float32", (None, size // 4), size // 4, size)


def operator(name, *inputs, kind="Relu", outputs=1, size=4, **more):
    """An operator; an input without a number is the first output."""
    return Operator(
        name=name,
        kind=kind,
        inputs=tuple(each if ":" in each else f"{each}:0" for each in inputs),
        outputs=tuple(tensor(f"{name}:{place}", size) for place in range(outputs)),
        layer=more.pop("layer", name),
        **more,
    )


def graph(*operators, outputs=None, constants=None):
    """A graph whose operators without inputs are its placeholders."""
    ends = outputs or (operators[-1].name,)
    return Graph(
        name="test",
        operators=operators,
        inputs=tuple(f"{each.name}:0" for each in operators if not each.inputs),
        outputs=tuple(each if ":" in each else f"{each}:0" for each in ends),
        constants=constants or {},
    )


@st.composite
def graphs(draw, *, most=9, controls=True):
    """Any graph of a few operators: branches, several outputs, aliases, shared constants, control edges.

    As `restrict` promises: each operator depends on an input and reaches an output, placeholders come first.
    """
    count = draw(st.integers(2, most))
    placeholders = draw(st.integers(1, min(2, count - 1)))
    made = [
        operator(f"in{place}", kind="Placeholder", size=4 * draw(st.integers(1, 9))) for place in range(placeholders)
    ]
    constants = {f"w{place}": Constant(place + 1, 4 * (place + 1), is_parameter=place != 2) for place in range(4)}
    for place in range(placeholders, count):
        available = [each.name for source in made for each in source.outputs]
        sources = draw(st.lists(st.sampled_from(available), min_size=1, max_size=3))
        before = draw(st.lists(st.sampled_from([each.name for each in made]), max_size=1)) if controls else []
        kind = draw(st.sampled_from(["Relu", "Add", "Identity", "Split"]))
        made.append(
            operator(
                f"op{place}",
                *(sources[:1] if kind == "Identity" else sources),
                kind=kind,
                outputs=2 if kind == "Split" else 1,
                size=4 * draw(st.integers(1, 9)),
                control_inputs=tuple(before) if draw(st.booleans()) else (),
                constants=()
                if kind == "Identity"
                else tuple(draw(st.sets(st.sampled_from(sorted(constants)), max_size=2))),
                flops=draw(st.integers(0, 9)),
            )
        )
    used = {name for each in made for name in each.inputs}
    loose = [f"{each.name}:0" for each in made if not used & {out.name for out in each.outputs}]
    extra = draw(st.lists(st.sampled_from([out.name for each in made for out in each.outputs]), max_size=1))
    return graph(*made, outputs=tuple(dict.fromkeys([*loose, *extra])), constants=constants)
