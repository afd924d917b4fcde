"""Limits that a search set on hosts for as long as it lasts: put back behind it, or by who comes after its death."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from slicebed.errors import ProvisionError
from slicebed.testbed.channel import open_channel
from slicebed.testbed.sweep import put_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slicebed.run.store import Campaign
    from slicebed.testbed.inventory import InventoryHost


def put_back_limits(
    hosts: Mapping[str, InventoryHost], campaign: Campaign, say: Callable[[str], None] = lambda _: None
) -> None:
    """Make limits that are on loan as they were before, on all hosts at once; the hosts themselves know of loans.

    Args:
        hosts: by name.
        campaign: its journal keeps where limits were put back, and where they are left.
        say: told of limits that another campaign left.

    Raises:
        ProvisionError: a host is not reached, or did not go back; the others did.
    """
    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        under_way = {name: pool.submit(_put_back, host) for name, host in hosts.items()}
    failures = []
    for name, future in under_way.items():
        try:
            by = future.result()
        except ProvisionError as error:
            campaign.note("limits_left", host=name, error=str(error))
            failures.append(error)
            continue
        if by is not None:
            campaign.note("limits_put_back", host=name, on_loan_to=by)
            if by != campaign.name:
                say(f"host {name}: limits that {by} left are put back")
    if failures:
        raise failures[0]


def _put_back(host: InventoryHost) -> str | None:
    with open_channel(host) as channel:
        return put_back(channel)
