"""The control machine's disk is full: one line says so, and what was measured can be gone on with."""

from __future__ import annotations

import errno
import json
import resource
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from searches import make_spaces

from slicebed.errors import ProvisionError, RunError
from slicebed.run.bench import Bench, Links, Subject, journaled
from slicebed.run.connection import HostConnection
from slicebed.run.progress import Progress
from slicebed.run.search.space import Cell
from slicebed.run.stage import Stage
from slicebed.run.store import create_campaign, find_unfinished
from slicebed.testbed.inventory import HostLink, InventoryHost

PLAN = {"experiment": "small", "kind": "search"}


@contextmanager
def room_for(size):
    """Files can grow to so many bytes, and no further."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.fixture
def campaign(tmp_path):
    return create_campaign(tmp_path / "results", "small", PLAN)


def test_half_a_line_of_the_journal_is_taken_back(campaign):
    journal = campaign.folder / "journal.jsonl"
    whole = journal.read_bytes()
    with room_for(len(whole) + 20), pytest.raises(OSError, match="File too large"):
        campaign.note("cell_started", cell="a")
    assert journal.read_bytes() == whole
    campaign.note("cell_started", cell="b")
    assert [line.get("cell") for line in campaign.events()] == [None, "b"]


def test_it_ends_with_one_line_that_says_what_to_do(campaign):
    said = rf"{campaign.name}: this machine: File too large; mend that, then go on with --resume"
    with room_for(1000), pytest.raises(RunError, match=said) as ended, journaled(campaign, ()):
        (campaign.folder / "samples").write_bytes(bytes(2000))
    assert ended.value.exit_code == 7
    assert campaign.events()[-1]["event"] == "campaign_failed"


def test_so_it_does_where_the_journal_cannot_be_written_either(campaign):
    room = room_for((campaign.folder / "journal.jsonl").stat().st_size)
    with room, pytest.raises(RunError, match="this machine: File too large"), journaled(campaign, ()):
        campaign.note("cell_started")
    assert [line["event"] for line in campaign.events()] == ["campaign_created"]


def test_a_file_that_cannot_be_had_is_named(campaign):
    with pytest.raises(RunError, match="gone: this machine: No such file or directory"), journaled(campaign, ()):
        (campaign.folder / "gone").read_bytes()


class Hosts(dict):
    """Stands for the connections to agents that begin no run: there is no room here for what they say."""

    def __init__(self, *names):
        super().__init__()
        self.freed = []
        for name in names:
            links = tuple(HostLink(peer, "127.0.0.1", "127.0.0.1", "netem") for peer in names if peer != name)
            host = InventoryHost(name, "127.0.0.1", 22, "root", None, None, links, "podman")
            control = SimpleNamespace(Prepare=self.prepare, Finish=lambda *_, name=name, **__: self.freed.append(name))
            self[name] = SimpleNamespace(host=host, control=control, fetch_samples=lambda *_: False)

    def prepare(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def bench(tmp_path, campaign):
    """Hosts, and what is run on them."""
    _, (space,) = make_spaces(tmp_path)
    hosts = Hosts("client", "edge")
    stage = Stage(None, tmp_path / "hosts.yml", {}, campaign, Progress(), campaign.folder)
    bench = Bench(stage, SimpleNamespace(connections=hosts), {}, None, {})
    cell = Cell(space.id, "split:op3", 1)
    subject = Subject(space.experiment_of(cell), space.sliced, {})
    return hosts, lambda: bench.run(subject, space.run_of(cell), Links((), (), None)), cell.run_id


def test_its_run_is_kept_as_a_failed_one(campaign, bench):
    hosts, run, name = bench
    with pytest.raises(OSError, match="No space left"):
        run()
    assert sorted(hosts.freed) == ["client", "edge"]
    manifest = json.loads((campaign.folder / f"{name}.failed-1" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "No space left" in manifest["error"]


def test_or_put_aside_when_it_begins_anew_where_not_even_that_can_be_written(campaign, bench):
    _, run, name = bench
    with room_for((campaign.folder / "journal.jsonl").stat().st_size + 200), pytest.raises(OSError, match="No space"):
        run()
    assert (campaign.folder / f"{name}.partial").is_dir()
    with find_unfinished(campaign.folder.parent, "small", PLAN).taken() as again:
        again.begin_run(name)
    assert (campaign.folder / f"{name}.failed-1").is_dir()


class FilesOfAHost:
    """Stands for SSH to one whose samples can be had, or not."""

    def __init__(self, wrong=None):
        self.wrong = wrong

    def get(self, _, destination):
        if self.wrong:
            raise self.wrong
        with Path(destination).open("wb", buffering=0) as file:
            left = bytes(2000)
            while left:
                left = left[file.write(left) :]


def test_samples_for_which_there_is_no_room_here_are_no_fault_of_their_host(tmp_path):
    host = HostConnection(InventoryHost("edge", "127.0.0.1", 22, "root", None, None, (), "podman"))
    host._ssh = FilesOfAHost()
    with room_for(1000), pytest.raises(OSError, match="File too large"):
        host.fetch_samples("run", tmp_path / "samples.jsonl")
    host._ssh = FilesOfAHost(OSError("Failure"))
    with pytest.raises(ProvisionError, match="host edge: samples were not fetched: Failure"):
        host.fetch_samples("run", tmp_path / "samples.jsonl")
