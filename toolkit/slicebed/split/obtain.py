"""A model opened on a control machine without TensorFlow: the agent image, which has it, freezes the model."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import MissingRequirementError, ProvisionError, SpecError
from slicebed.split.model import open_source
from slicebed_agent.model.load import NotFrozenError, cache_folder
from slicebed_agent.model.zoo.entries import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed.split.model import OpenedModel
    from slicebed.testbed.image import ImageFacts
    from slicebed_agent.model.source import ModelSource

_CACHE = "/cache"
_OR_INSTALL = "or install slicebed[agent]"
_PODMAN = ("podman", "--runtime", "runc")
# Keras and TensorFlow read a file that may be anybody's: it gets no network, no rights, and no place to write but the
# cache and a memory disk that ends with the container.
_CONFINED = (
    *("--rm", "--pull", "never", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--env", "HOME=/tmp"),  # noqa: S108 - the container's
    *("--image-volume", "ignore", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "512"),
    # As of the image's build: a control machine may not be allowed to raise them (platforms in containers).
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
)
_CODE_OF_BAD_ARGUMENT = 2


def obtain_model(source: ModelSource, *, image: ImageFacts | None, say: Callable[[str], None]) -> OpenedModel:
    """Open a model: from the cache, or frozen here, or (without TensorFlow here) frozen by the agent image.

    Args:
        source: which model.
        image: the agent image last built; None where there is none.
        say: told, in a few words, when something begins that takes a moment.

    Raises:
        AgentConfigError: the model is unknown, damaged or foreign, or cannot be sliced.
        SpecError: the agent image found that out.
        MissingRequirementError: TensorFlow is not installed here, and podman or the image is not there either.
        ProvisionError: the agent image could not freeze the model.
    """
    try:
        return open_source(source)
    except NotFrozenError as missing:
        name = missing.where or source.argument
    reference = _stored_image(name, image)
    say(f"building {name} in the agent image: no TensorFlow here")
    _freeze_in_image(source, name, reference)
    try:
        return open_source(source)
    except NotFrozenError as still:
        raise MissingRequirementError(
            f"{reference} is not built from the sources of this slicebed, and froze another model",
            where=name,
            mend="run: slicebed image build",
        ) from still


def _stored_image(name: str, image: ImageFacts | None) -> str:
    if shutil.which("podman") is None:
        raise MissingRequirementError(
            "TensorFlow is not installed, nor podman, which would run the agent image",
            where=name,
            mend=f"install podman, {_OR_INSTALL}",
        )
    stored = image is not None and subprocess.run([*_PODMAN, "image", "exists", image.reference], check=False)
    if image is None or not stored or stored.returncode != 0:
        raise MissingRequirementError(
            "TensorFlow is not installed, and this user's podman has no agent image",
            where=name,
            mend=f"run as root: slicebed image build, {_OR_INSTALL}",
        )
    return image.reference


@dataclass(frozen=True)
class _Mounts:
    """Folders and files of this machine that the container sees."""

    volumes: list[str] = field(default_factory=list)
    outside: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, inside: str, mode: str) -> str:
        """Show a file or folder to the container, under a folder of its own; give its path there."""
        # Not resolve: the name is part of what the cache knows a model by, and a link has its own.
        named = Path(os.path.abspath(path))  # noqa: PTH100 - as above
        place = f"{inside}/{named.name}" if mode == "ro" else inside
        if ":" in str(path.resolve()) or ":" in place:
            raise SpecError("podman cannot show a path with ':' to a container", where=str(path), mend="rename it")
        self.volumes.extend(("--volume", f"{path.resolve()}:{place}:{mode}"))
        self.outside[place] = str(path)
        return place

    def told_outside(self, text: str) -> str:
        """What the container said, with this machine's paths."""
        for place, path in self.outside.items():
            text = text.replace(place, path)
        return text


def _freeze_in_image(source: ModelSource, name: str, reference: str) -> None:
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProvisionError(
            f"cannot keep frozen models: {error.strerror}", where=str(cache), mend="check XDG_CACHE_HOME"
        ) from error
    mounts = _Mounts()
    verb = ["freeze", *_arguments(source, mounts), "--cache", mounts.add(cache, _CACHE, "rw")]
    container = f"slicebed-freeze-{secrets.token_hex(4)}"
    user = ("--user", f"{os.getuid()}:{os.getgid()}")
    run = [*_PODMAN, "run", "--name", container, *_CONFINED, *user, *mounts.volumes, reference, *verb]
    try:
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    except BaseException:
        # Ctrl-C ends podman's client; the container would go on.
        subprocess.run([*_PODMAN, "rm", "--force", "--time", "0", container], capture_output=True, check=False)
        raise
    if done.returncode != 0:
        raise _refusal(done.returncode, mounts.told_outside(done.stderr), name, reference)


def _arguments(source: ModelSource, mounts: _Mounts) -> list[str]:
    known = find(source.argument) is not None
    said = [source.argument if known else mounts.add(Path(source.argument), "/model", "ro")]
    if source.weights is not None:
        said += ["--weights", mounts.add(source.weights, "/weights", "ro")]
    if source.seed is not None:
        said += ["--seed", str(source.seed)]
    if source.input_shape is not None:
        said += ["--input-shape", ",".join(map(str, source.input_shape))]
    for option, names in (("--input", source.inputs), ("--output", source.outputs)):
        said += [word for name in names or () for word in (option, name)]
    return said


def _refusal(code: int, stderr: str, name: str, reference: str) -> SpecError | ProvisionError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == _CODE_OF_BAD_ARGUMENT and own:
        return SpecError(own[-1])
    said = (own or lines or ["it said nothing"])[-1]
    return ProvisionError(f"the agent image {reference} did not freeze it (exit code {code}): {said}", where=name)
