"""Build hook: generate the gRPC modules from protos/, for wheels and for editable installs alike."""

from __future__ import annotations

import sys
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
        out = root / "agent"
        code = protoc.main(
            [
                "protoc",
                f"-I{root / 'protos'}",
                f"-I{well_known}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                *map(str, protos),
            ]
        )
        if code != 0:
            sys.exit(f"slicebed build: protoc ended with exit code {code}")
