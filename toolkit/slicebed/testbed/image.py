"""The agent image: one for every role, built without any registry where none is asked for."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import MissingRequirementError
from slicebed.testbed.commands import require_tool, run_tool
from slicebed.testbed.host_tools import build_host_tools
from slicebed.testbed.wheels import (
    CHECKSUM_FILE,
    application_checksum,
    build_application_wheel,
    fetch_dependencies,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed.testbed.checkout import Checkout

LOCAL_BASE = "localhost/slicebed-base:bookworm"
_REPOSITORY = "localhost/slicebed-agent"
_BASE_PACKAGES = "python3,python3-venv"
_DEBIAN_SUITE = "bookworm"
# Rootless limits of a build container: a control machine may not be allowed to raise them (platforms in containers).
_BUILD_ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


@dataclass(frozen=True)
class ImageFacts:
    """What build/image.json holds and the roles read."""

    reference: str
    id: str
    dependencies: str
    application: str
    base: str


def read_image_facts(checkout: Checkout) -> ImageFacts:
    """Give the facts of the image last built in this checkout.

    Raises:
        MissingRequirementError: none was built.
    """
    if not checkout.image_facts.is_file():
        raise MissingRequirementError("the agent image is not built", mend="run: slicebed image build")
    return ImageFacts(**json.loads(checkout.image_facts.read_text()))


def build_image(checkout: Checkout, base_image: str | None, say: Callable[[str], None]) -> tuple[ImageFacts, bool]:
    """Build the agent image from this checkout's sources; give its facts and whether anything was built.

    Args:
        checkout: where the sources and the build folder are.
        base_image: an image with Python 3.11 to start from, pulled by podman; None makes a Debian base with mmdebstrap.
        say: told, in a few words, what is being done.

    Raises:
        MissingRequirementError: not root, or podman or mmdebstrap is not installed.
        ProvisionError: a tool failed; the line names its log.
    """
    if os.geteuid() != 0:
        raise MissingRequirementError(
            "only root may build the agent image",
            mend="run it as root: the image goes to root's store, where the lab looks",
        )
    require_tool("podman", "podman")
    require_tool("runc", "runc")
    # Not of the image, but whoever plays the playbooks by hand finds it here.
    build_host_tools(checkout)
    base = base_image or LOCAL_BASE
    found = _facts_of_stored(checkout, base)
    if found is not None:
        return found, False
    context = checkout.build / "context"
    say("fetching the wheels of TensorFlow and gRPC")
    dependencies = fetch_dependencies(checkout, "agent", context / "dependencies")
    build_application_wheel(checkout, context / "application")
    application = application_checksum(checkout)
    _make_base(checkout, base_image, say)
    say("building the agent image")
    reference = f"{_REPOSITORY}:{application[:12]}"
    run_tool(
        [
            # In docker's format, so that the image has the same id in podman's store and in docker's.
            *("podman", "--runtime", "runc", "build", "--format", "docker", "--layers", "--network", "none"),
            *_BUILD_ULIMITS,
            *("--build-arg", f"BASE_IMAGE={base}"),
            *("--build-arg", f"DEPENDENCIES_SHA256={dependencies}"),
            *("--build-arg", f"APPLICATION_SHA256={application}"),
            *("--file", str(checkout.root / "packaging" / "agent" / "Containerfile")),
            *("--tag", reference, str(context)),
        ],
        log=checkout.build / "log" / "image.log",
    )
    facts = ImageFacts(reference, _image_id(reference) or "", dependencies, application, base)
    checkout.image_facts.write_text(json.dumps(asdict(facts), indent=1) + "\n")
    return facts, True


def _facts_of_stored(checkout: Checkout, base: str) -> ImageFacts | None:
    """Give the facts in image.json when they are of these sources and podman still has that very image."""
    if not checkout.image_facts.is_file():
        return None
    facts = ImageFacts(**json.loads(checkout.image_facts.read_text()))
    mark = checkout.build / "context" / "dependencies" / CHECKSUM_FILE
    same_sources = (
        facts.base == base
        and facts.application == application_checksum(checkout)
        and mark.is_file()
        and mark.read_text() == fetch_dependencies(checkout, "agent", mark.parent)
        and facts.dependencies == mark.read_text()
    )
    return facts if same_sources and _image_id(facts.reference) == facts.id else None


def _image_id(reference: str) -> str | None:
    stored = run_tool(["podman", "images", "--no-trunc", "--format", "json", "--filter", f"reference={reference}"])
    images = json.loads(stored or "[]") or []
    return str(images[0]["Id"]) if images else None


def _make_base(checkout: Checkout, base_image: str | None, say: Callable[[str], None]) -> None:
    if base_image is not None:
        say(f"pulling {base_image}")
        run_tool(["podman", "pull", "--quiet", base_image], log=checkout.build / "log" / "pull.log")
        return
    if _image_id(LOCAL_BASE) is not None:
        return
    require_tool("mmdebstrap", "mmdebstrap")
    say("making a Debian base image with mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="slicebed-base-", dir="/var/tmp") as folder:
        archive = Path(folder) / "base.tar"
        run_tool(
            ["mmdebstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", _DEBIAN_SUITE, str(archive)],
            log=checkout.build / "log" / "base.log",
        )
        run_tool(["podman", "import", "--quiet", str(archive), LOCAL_BASE], log=checkout.build / "log" / "import.log")
