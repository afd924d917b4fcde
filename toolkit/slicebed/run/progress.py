"""What a campaign tells the person who waits for it; the command line renders it, a notebook may ignore it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.run.probe import LinkVerdict
    from slicebed.spec.order import PlannedRun


class Progress:
    """Hears everything and says nothing; override what is of interest."""

    def begin(self, campaign: str, runs: int, done: int) -> None:
        """A campaign begins with so many runs, some of them done before."""

    def say(self, text: str) -> None:
        """Something that takes a moment begins; also before the campaign does."""

    def verdicts(self, configuration: str, verdicts: Sequence[LinkVerdict]) -> None:
        """The links of a configuration were measured."""

    def run_begins(self, run: PlannedRun) -> None:
        """The agents are prepared and the camera is about to start."""

    def frames(self, ended: int) -> None:
        """So many frames of the current run have an end."""

    def run_ends(self, run: PlannedRun, manifest: dict[str, Any]) -> None:
        """A run is whole."""

    def search_begins(self, campaign: str, problems: int, candidates: int, done: int) -> None:
        """A search begins: so many problems with so many candidates in all, so many cells done before."""

    def cells(self, done: int, left: int, left_s: float | None) -> None:
        """So many cells of a search are done, so many are asked for and not done, which takes about so long."""

    def end(self) -> None:
        """The campaign is over, whole or not."""
