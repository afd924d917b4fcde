"""Build hook: generate the gRPC modules from protos/, for wheels and for editable installs alike."""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Writes *_pb2.py, *_pb2.pyi and *_pb2_grpc.py beside slicebed_agent/rpc/v1/__init__.py before every build."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Run protoc over every .proto; a protoc error ends the build with its own message."""
        from grpc_tools import protoc  # noqa: PLC0415 - a build requirement, present only in the build environment

        root = Path(self.root)
        protos = sorted((root / "protos").rglob("*.proto"))
        if not protos:
            sys.exit("slicebed build: no .proto file under protos/")
        well_known = resources.files("grpc_tools") / "_proto"
        with tempfile.TemporaryDirectory() as made:
            code = protoc.main(
                [
                    "protoc",
                    f"-I{root / 'protos'}",
                    f"-I{well_known}",
                    f"--python_out={made}",
                    f"--pyi_out={made}",
                    f"--grpc_python_out={made}",
                    *map(str, protos),
                ]
            )
            if code != 0:
                sys.exit(f"slicebed build: protoc ended with exit code {code}")
            for path in sorted(Path(made).rglob("*.py*")):
                _put(path.read_bytes(), root / "agent" / path.relative_to(made))


def _put(content: bytes, place: Path) -> None:
    """Write what is new only, and whole: an agent or a test of an editable install may be importing it."""
    if place.is_file() and place.read_bytes() == content:
        return
    partial = place.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(place)
