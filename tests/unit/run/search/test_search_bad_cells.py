"""Cuts that can never run are left out, whatever asks for them and however often the search is begun again."""

from __future__ import annotations

import csv
import errno
import json
import os

import pytest
from searches import LATENCY, POINTS, Killed, SimulatedHosts, make_spaces

from slicebed.errors import RunError, VerdictError
from slicebed.run.bench import journaled
from slicebed.run.progress import Progress
from slicebed.run.search.crew import AT_FIRST, ATTEMPTS
from slicebed.run.search.searching import Searching, Settings
from slicebed.run.store import create_campaign, find_unfinished
from slicebed.split.search import registry

PLAN = {"kind": "search", "experiment": "small"}
BAD = ("split:op2", "split:op3", "split:op4")


@pytest.fixture
def small(tmp_path):
    _, spaces = make_spaces(tmp_path)
    return spaces, create_campaign(tmp_path / "results", "small", PLAN), lambda: resumed(tmp_path / "results")


def resumed(results):
    with find_unfinished(results, "small", PLAN).taken() as campaign:
        return campaign


def search(campaign, hosts, method="strongman", seed=1):
    settings = Settings(LATENCY, order_seed=seed)
    spaces = list(hosts[0].spaces.values())
    Searching(campaign, spaces, {method: registry.load(method)}, settings, Progress(), None).run(hosts)
    campaign.complete()


def never(*bad, error=None):
    """Of hosts on which these cannot run."""

    def fail(_, cell):
        return (error or RunError(f"{cell.key} does not fit", where="host edge")) if cell.key in bad else None

    return fail


def measured(campaign):
    with (campaign.folder / "tables" / "cells.csv").open() as file:
        return {row["cell"].split("/")[1] for row in csv.DictReader(file)}


def keys(spaces):
    return set(spaces[0].variants)


def decided(campaign):
    with (campaign.folder / "tables" / "decisions.csv").open() as file:
        (decision,) = csv.DictReader(file)
    return decision


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", ["strongman", "early-stop"])
def test_they_are_left_out_and_the_rest_is_decided(small, method, seed):
    spaces, campaign, _ = small
    search(campaign, [SimulatedHosts(campaign, spaces, fail=never(*BAD))], method, seed)
    assert measured(campaign) == keys(spaces) - set(BAD)
    assert decided(campaign)["chosen"] == "split:op5"


def test_several_sites_leave_them_out_too(small):
    spaces, campaign, _ = small
    search(campaign, [SimulatedHosts(campaign, spaces, site, fail=never(*BAD)) for site in ("left", "right")])
    assert measured(campaign) == keys(spaces) - set(BAD)


@pytest.mark.parametrize("method", ["strongman", "early-stop"])
@pytest.mark.parametrize("at", range(3, 19, 5))
def test_a_search_that_is_killed_and_gone_on_with_leaves_them_out_too(small, method, at):
    spaces, campaign, resume = small
    killed = SimulatedHosts(campaign, spaces, kill_at=("started", at), fail=never(*BAD))
    try:
        search(campaign, [killed], method)
    except Killed:
        campaign = resume()
        search(campaign, [SimulatedHosts(campaign, spaces, fail=never(*BAD))], method)
    assert measured(campaign) == keys(spaces) - set(BAD)


@pytest.mark.parametrize(
    ("method", "attempts"), [("strongman", AT_FIRST), ("early-stop", (AT_FIRST - 1) * ATTEMPTS + 1)]
)
def test_where_all_fail_it_ends_soon_and_is_whole_after_a_resume_with_better_hosts(small, method, attempts):
    spaces, campaign, resume = small
    hosts = SimulatedHosts(campaign, spaces, fail=never(*keys(spaces)))
    with pytest.raises(RunError, match=rf"host edge: {AT_FIRST} cells failed .*; the first: .* does not fit"):
        search(campaign, [hosts], method)
    assert len(hosts.measured) == attempts
    campaign = resume()
    search(campaign, [SimulatedHosts(campaign, spaces)], method)
    assert measured(campaign) == keys(spaces)


def test_most_of_the_cuts_are_left_out_after_as_many_resumes_as_that_takes(small):
    spaces, campaign, resume = small
    bad = keys(spaces) - {f"split:{POINTS[-1]}"}
    for _ in range(3):
        try:
            search(campaign, [SimulatedHosts(campaign, spaces, fail=never(*bad))], "early-stop")
        except RunError:
            campaign = resume()
    assert campaign.is_complete
    assert measured(campaign) == keys(spaces) - bad


@pytest.mark.parametrize(
    ("error", "event"), [(RunError("it broke"), "cell_failed"), (VerdictError("slow"), "cell_invalid")]
)
def test_a_cell_that_keeps_failing_is_given_up_until_a_resume(small, error, event):
    spaces, campaign, resume = small

    search(campaign, [SimulatedHosts(campaign, spaces, fail=never("split:op5", error=error))])
    events = [line for line in campaign.events() if line["event"] == event]
    assert [line["given_up"] for line in events] == [False] * (ATTEMPTS - 1) + [True]
    assert decided(campaign)["candidates_measured"] == "8"
    assert decided(campaign)["chosen"] in {"split:op4", "split:op6"}
    lines = (campaign.folder / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["event"] not in {"decision", "campaign_complete"}]
    (campaign.folder / "journal.jsonl").write_text("".join(kept))
    again = SimulatedHosts(resume(), spaces)
    search(campaign, [again])
    assert {cell.key for cell in again.measured} == {"split:op5"}
    assert decided(campaign)["chosen"] == "split:op5"


def test_a_cell_that_was_finished_but_not_noted_is_noted_as_found(small):
    spaces, campaign, resume = small
    with pytest.raises(Killed):
        search(campaign, [SimulatedHosts(campaign, spaces, kill_at=("named", 3))])
    runs = {path.parent.name for path in campaign.folder.glob("*_r1/manifest.json")}
    assert len(runs) == 3
    for _ in range(2):
        campaign = resume()
        with pytest.raises(Killed):
            search(campaign, [SimulatedHosts(campaign, spaces, kill_at=("started", 1))])
        done = [line for line in campaign.events() if line["event"] == "cell_done"]
        assert sorted(line["run"] for line in done) == sorted(runs)
        assert [line.get("found") for line in done] == [None, None, True]


def test_a_disk_that_is_full_ends_the_search_at_once_and_it_can_be_gone_on_with(small):
    spaces, campaign, resume = small
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/small/samples.parquet")
    hosts = SimulatedHosts(campaign, spaces, fail=lambda hosts, _: full if len(hosts.measured) == 4 else None)
    said = r"^results/small/samples.parquet: this machine: No space left on device; .* --resume"
    with pytest.raises(RunError, match=said) as ended, journaled(campaign, ()):
        search(campaign, [hosts])
    assert ended.value.exit_code == 7
    assert len(hosts.measured) == 4
    assert campaign.events()[-1]["event"] == "campaign_failed"
    campaign = resume()
    again = SimulatedHosts(campaign, spaces)
    search(campaign, [again])
    assert len(again.measured) == len(keys(spaces)) - 3
    assert measured(campaign) == keys(spaces)
