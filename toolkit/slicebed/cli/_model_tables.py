"""Tables of `slicebed model`, for a terminal of 120 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from slicebed.split.model import OpenedModel
    from slicebed.split.place import Host, Option, Placement
    from slicebed_agent.model.execute.check import CutCheck
    from slicebed_agent.model.execute.publish import Manifest, Port
    from slicebed_agent.model.graph import SplitPoint, Tensor
    from slicebed_agent.model.zoo.entries import Entry

_MEGA, _GIGA = 10**6, 10**9


def zoo_table(entries: Iterable[Entry]) -> Table:
    """One row for each model of the zoo; top-1 and operators are the published ones, not of seeded weights."""
    table = _table(
        "Model", "", right=("Input", "Parameters M\npublished", "Top-1 %\nCouper", "Operators\nCouper", "Weights")
    )
    for entry in entries:
        table.add_row(
            entry.name,
            entry.title,
            "x".join(map(str, entry.input_shape)),
            f"{entry.published_parameters_millions:g}",
            "-" if entry.published_top1_percent is None else f"{entry.published_top1_percent:g}",
            "-" if entry.published_operators is None else f"{entry.published_operators:,}",
            "trained" if entry.trained else "seeded",
        )
    return table


def operators_table(opened: OpenedModel) -> Table:
    """One row for each operator, in the order of computation."""
    table = _table("Operator", "Kind", right=("Output", "Bytes a frame", "Parameters", "MFLOP"))
    for operator in opened.graph.operators:
        table.add_row(
            Text(operator.name, overflow="fold"),
            operator.kind,
            shapes_text(operator.outputs),
            bytes_text(operator.outputs),
            f"{opened.graph.parameters_of(operator):,}",
            f"{operator.flops / 1e6:,.2f}",
        )
    return table


def layers_table(opened: OpenedModel) -> Table:
    """One row for each layer."""
    table = _table("Layer", "Kind", right=("Operators", "Output", "Bytes a frame", "Parameters", "MFLOP"))
    for row in opened.layers():
        table.add_row(
            Text(row.name, overflow="fold"),
            row.kind,
            str(row.operators),
            shapes_text(row.outputs),
            bytes_text(row.outputs),
            f"{row.parameters:,}",
            f"{row.flops / 1e6:,.2f}",
        )
    return table


def cuts_table(points: Sequence[SplitPoint]) -> Table:
    """One row for each split point; a small model's work and weights in units that show them."""
    whole = points[0] if points else None
    giga = whole is None or whole.flops_before + whole.flops_after >= _GIGA
    mega = whole is None or whole.parameters_before + whole.parameters_after >= _MEGA
    flop, parameter = (_GIGA if giga else _MEGA), (_MEGA if mega else 1)
    flops, parameters = ("GFLOP" if giga else "MFLOP"), ("M params" if mega else "Params")
    table = _table(
        "Split point",
        "Layer",
        right=("Tensor", "Bytes a frame", f"{flops}\nbefore", "\nafter", f"{parameters}\nbefore", "\nafter"),
    )
    decimals = 2 if mega else 0
    for point in points:
        table.add_row(
            Text(point.name, overflow="fold"),
            Text(point.layer, overflow="fold"),
            shapes_text(point.tensors),
            bytes_text(point.tensors),
            *(f"{work / flop:,.3f}" for work in (point.flops_before, point.flops_after)),
            *(f"{count / parameter:,.{decimals}f}" for count in (point.parameters_before, point.parameters_after)),
        )
    return table


def check_line(row: CutCheck) -> Text:
    """What became of one cut."""
    name = " , ".join(row.cut)
    if row.refused is not None:
        return Text(f"refused  {name}: {row.refused}")
    how = "to the last bit" if row.bit_exact else f"max relative error {row.max_rel:.1e}"
    return Text(f"{'equal ' if row.passed else 'DIFFERS'}  {name}: {how}")


def slice_line(folder: Path, manifest: Manifest) -> Text:
    """What was written, and what it takes and gives."""
    size = f"{_size(manifest.graph_bytes)}, weights {_size(manifest.weights_bytes)}"
    return Text(f"{folder}: {size}; {_ports(manifest.inputs)} -> {_ports(manifest.outputs)}")


def placement_table(placement: Placement) -> Table:
    """One row for each way to place the model; times are of one frame."""
    table = _table(
        "Placement", "Cut", right=("Predicted ms", "Near", "Link", "Far", "Bytes a frame", "Operators\nnear", "\nfar")
    )
    for name, option in (
        ("best", placement.best),
        ("best split point", placement.single),
        ("nothing sent", placement.all_near),
        ("frame sent", placement.all_far),
    ):
        if option is not None:
            table.add_row(
                name,
                Text(_cut_name(option, placement), overflow="fold"),
                *(f"{seconds * 1e3:,.2f}" for seconds in (option.time_s, option.near_s, option.link_s, option.far_s)),
                f"{option.bytes_per_frame:,}",
                f"{len(option.near):,}",
                f"{len(option.far):,}",
            )
    return table


def placement_text(placement: Placement, near: Host, far: Host) -> Text:
    """What crosses in the best placement, and what the times come from."""
    best = placement.best
    sizes = ", ".join(f"{tensor.name} ({tensor.bytes_per_frame:,} B)" for tensor in best.tensors)
    lines = [f"sent: {sizes or 'nothing'}"]
    for name, host in (("near", near), ("far", far)):
        scaled = "" if host.scale == 1 else f", times {host.scale:g} as asked, not measured"
        measured = host.whole_s / host.scale * 1e3
        lines.append(
            f"{name}: {host.profile}, whole {measured:,.2f} ms, operators stretched by {host.stretch:.3g}{scaled}"
        )
    return Text("\n".join(lines))


def _cut_name(option: Option, placement: Placement) -> str:
    if option.split_point is not None:
        return option.split_point.name
    if option.near == placement.all_near.near:
        return "all near"
    return "all far" if option.near == placement.all_far.near else "no split point, see --json"


def shapes_text(tensors: Sequence[Tensor]) -> str:
    """``224x224x3``, without the batch; ``?`` where a size is not known."""
    return ", ".join(
        "?"
        if tensor.shape is None
        else "x".join("?" if size is None else str(size) for size in tensor.shape[1:]) or "1"
        for tensor in tensors
    )


def bytes_text(tensors: Sequence[Tensor]) -> str:
    """Their sizes together; ``?`` where one is not known."""
    sizes = [tensor.bytes_per_frame for tensor in tensors]
    known = [size for size in sizes if size is not None]
    return f"{sum(known):,}" if len(known) == len(sizes) else "?"


def _size(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:.1f} MB" if count_bytes >= _MEGA else f"{count_bytes / 1e3:.1f} kB"


def _ports(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.name} {port.dtype}" for port in ports)


def _table(*left: str, right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in left:
        table.add_column(header)
    for header in right:
        table.add_column(header, justify="right")
    return table
