"""The checkout that Slicebed works in: playbooks, roles, inventory, and the build folder made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slicebed.errors import MissingRequirementError

_MARK = Path("playbooks") / "site.yml"


@dataclass(frozen=True)
class Checkout:
    """Paths inside one checkout."""

    root: Path

    @property
    def playbooks(self) -> Path:
        """Folder of the playbooks."""
        return self.root / "playbooks"

    @property
    def inventory(self) -> Path:
        """Inventory that `slicebed lab up` writes."""
        return self.root / "inventory" / "lab" / "hosts.yml"

    @property
    def build(self) -> Path:
        """What `slicebed image build` makes; ignored by git."""
        return self.root / "build"

    @property
    def image_facts(self) -> Path:
        """Reference, id and checksums of the agent image last built."""
        return self.build / "image.json"

    @property
    def results(self) -> Path:
        """Campaigns."""
        return self.root / "results"


def state_folder() -> Path:
    """Where a user's state is that is no checkout's: below ``$XDG_STATE_HOME``, ~/.local/state by default."""
    asked = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (asked if asked.is_absolute() else Path.home() / ".local" / "state") / "slicebed"


def find_checkout() -> Checkout:
    """Find the checkout: $SLICEBED_HOME, else upward from the current folder, else where an editable install points.

    Raises:
        MissingRequirementError: none of these holds playbooks/site.yml.
    """
    asked = os.environ.get("SLICEBED_HOME")
    starts = [Path(asked)] if asked else [Path.cwd(), Path(__file__).parent]
    for start in starts:
        for folder in (start.resolve(), *start.resolve().parents):
            if (folder / _MARK).is_file():
                return Checkout(folder)
    raise MissingRequirementError(
        f"no {_MARK} in or above {starts[0]}", mend="run inside a Slicebed checkout, or set SLICEBED_HOME to one"
    )
