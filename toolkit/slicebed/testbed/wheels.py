"""Wheels for the image: built and fetched once on the control machine, so that the build needs no package index."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tomllib
from typing import TYPE_CHECKING

from slicebed.testbed.commands import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from slicebed.testbed.checkout import Checkout

# Python of Debian 12: of the base image.
TARGET_PYTHON = "3.11"
CHECKSUM_FILE = "wheels.sha256"
_AGENT_SOURCES = ("agent", "protos", "packaging")
# The tables of pyproject.toml that decide what a wheel holds and needs; the others are the developers' tools.
_WHEEL_TABLES = ("build-system", "project")
_GENERATED = ("__pycache__", "_pb2.py", "_pb2.pyi", "_pb2_grpc.py", ".egg-info")


def application_checksum(checkout: Checkout) -> str:
    """SHA-256 over everything that the agent's half of the wheel is made from."""
    return _checksum(checkout.root, _AGENT_SOURCES, _WHEEL_TABLES)


def dependencies_checksum(checkout: Checkout) -> str:
    """SHA-256 over what decides the third-party wheels."""
    return _checksum(checkout.root, ("constraints.txt",), ("project",))


def build_application_wheel(checkout: Checkout, folder: Path) -> Path:
    """Put the slicebed wheel into `folder`, unless the one there is of the same sources; give its path."""
    checksum = application_checksum(checkout)

    def build() -> None:
        argv = [*_pip(checkout, "wheel"), "--no-deps", "--wheel-dir", str(folder), str(checkout.root)]
        run_tool(argv, log=checkout.build / "log" / "wheel.log")

    _make_once(folder, checksum, build)
    return next(folder.glob("slicebed-*.whl"))


def fetch_dependencies(checkout: Checkout, extra: str, folder: Path) -> str:
    """Put the third-party wheels of `slicebed[extra]` into `folder`; give their checksum."""
    checksum = hashlib.sha256(f"{dependencies_checksum(checkout)} {extra}".encode()).hexdigest()

    def fetch() -> None:
        target = [*_pip(checkout, "download"), "--only-binary=:all:", "--python-version", TARGET_PYTHON]
        wheel = build_application_wheel(checkout, checkout.build / "context" / "application")
        run_tool(
            [*target, "--dest", str(folder), f"{wheel}[{extra}]"],
            log=checkout.build / "log" / f"dependencies-{extra}.log",
        )
        for own in folder.glob("slicebed-*.whl"):
            own.unlink()

    _make_once(folder, checksum, fetch)
    return checksum


def _make_once(folder: Path, checksum: str, make: Callable[[], None]) -> None:
    """Fill `folder` anew unless its checksum file says that it was made, to its end, from the same things."""
    mark = folder / CHECKSUM_FILE
    if mark.is_file() and mark.read_text() == checksum:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make()
    mark.write_text(checksum)


def _pip(checkout: Checkout, verb: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"),
        *("--constraint", str(checkout.root / "constraints.txt")),
    ]


def _checksum(root: Path, names: Iterable[str], tables: Iterable[str]) -> str:
    digest = hashlib.sha256()
    project = tomllib.loads((root / "pyproject.toml").read_text())
    for table in tables:
        digest.update(json.dumps(project[table], sort_keys=True).encode())
    for name in names:
        place = root / name
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        for path in files:
            relative = path.relative_to(root).as_posix()
            if not any(mark in relative for mark in _GENERATED):
                digest.update(f"{relative}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
