"""Testbed files for these tests, read through the project's own loader."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from slicebed.spec.testbed import Testbed, load_testbed

if TYPE_CHECKING:
    from pathlib import Path


def chain(
    folder: Path,
    names: list[str],
    *,
    management: str | None = "10.219.0.0/24",
    delay: str = "0 ms",
    cores: list[int] | None = None,
    **link: object,
) -> Testbed:
    """A chain of hosts; further keywords are keys of every link."""
    content: dict[str, object] = {
        "name": "chain",
        "hosts": {name: {"role": f"role-{name}"} | ({"cores": cores} if cores else {}) for name in names},
        "links": [{"between": [a, b], "one_way": delay, **link} for a, b in pairwise(names)],
    }
    if management:
        content["lab"] = {"management": management, "data": "10.218.0.0/16"}
    path = folder / "testbed.yml"
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(content, path)
    return load_testbed(path)
