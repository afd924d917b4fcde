"""A search's tables once more, where they were taken away: no model is opened and no host is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.run.search.listing import read_listings
from slicebed.run.search.record import Record
from slicebed.split.search.objective import parse

if TYPE_CHECKING:
    from slicebed.run.store import Campaign


def retable(campaign: Campaign) -> bool:
    """Write the tables of a search from the runs, the journal and the list of candidates in its folder.

    Returns:
        Whether it could: a search of before its candidates were written down has them in its tables alone.

    Raises:
        RunError: one of these cannot be read.
        SpecError: its objective is none.
    """
    listings = read_listings(campaign.folder)
    if listings is None:
        return False
    record = Record(campaign.folder, listings, parse(str(campaign.plan.get("objective"))))
    record.take_in()
    record.write(record.decisions(campaign.events()).values())
    return True
