"""Hosts and image of a campaign: sites share no host, and --resume stays on those that it was begun with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from searches import LATENCY, write_experiment

from slicebed.errors import ProvisionError, SpecError
from slicebed.run.campaign import Wanted, run_campaign
from slicebed.run.progress import Progress
from slicebed.run.search.engine import SearchWanted, run_search
from slicebed.run.stage import Stage
from slicebed.spec.experiment import load_experiment
from slicebed.testbed.checkout import Checkout

IMAGE = {"reference": "slicebed-agent:aa", "id": "1", "dependencies": "d", "application": "aa", "base": "b"}
# Nobody listens at port 1: a command that goes on ends here, before any host is touched.
GOES_ON = pytest.raises(ProvisionError, match="no SSH connection")


def write_inventory(path, edge="127.0.0.3", port=1):
    """Three hosts, each linked with each."""
    lines = ["testbed:", "  hosts:"]
    at = {"client": "127.0.0.2", "edge": edge, "cloud": "127.0.0.4"}
    for name, address in at.items():
        links = ", ".join(
            f"{{peer: {peer}, address: {address}, peer_address: {other}}}" for peer, other in at.items() if peer != name
        )
        lines.append(f"    {name}: {{ansible_host: {address}, ansible_port: {port}, slicebed_links: [{links}]}}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    known = tmp_path / "home" / ".ssh" / "known_hosts"
    known.parent.mkdir(parents=True)
    known.touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # Of hosts that are not reached no logs are gathered.
    monkeypatch.setattr(Stage, "gather", lambda _: None)
    checkout = Checkout(tmp_path)
    write_image(checkout)
    write_inventory(tmp_path / "hosts.yml")
    return checkout


def write_image(checkout, **changed):
    checkout.build.mkdir(exist_ok=True)
    checkout.image_facts.write_text(json.dumps({**IMAGE, **changed}))


def sweep(checkout, inventory, *, resume):
    experiment = load_experiment(write_experiment(checkout.root))
    wanted = Wanted(experiment, checkout.root / inventory, checkout.results)
    run_campaign(checkout, wanted, Progress(), resume=resume, deploy=False)


def search(checkout, inventory, *, resume, section=""):
    experiment = load_experiment(write_experiment(checkout.root, section))
    wanted = SearchWanted(experiment, checkout.root / inventory, checkout.results, ("strongman",), LATENCY)
    run_search(checkout, wanted, Progress(), resume=resume, deploy=False)


@pytest.fixture(params=[sweep, search])
def begun(request, checkout):
    """What was begun and came no further; called, it is gone on with."""
    with GOES_ON:
        request.param(checkout, "hosts.yml", resume=False)
    return lambda inventory="hosts.yml": request.param(checkout, inventory, resume=True)


def test_what_was_begun_is_gone_on_with_also_by_another_inventory_of_the_same_hosts(begun, checkout):
    with GOES_ON:
        begun()
    write_inventory(checkout.root / "copy.yml")
    with GOES_ON:
        begun("copy.yml")
    assert len(list(checkout.results.iterdir())) == 1


def test_other_hosts_are_refused(begun, checkout):
    write_inventory(checkout.root / "others.yml", edge="127.0.0.4")
    with pytest.raises(
        SpecError, match=r"another hosts \(edge 127\.0\.0\.3:1, now 127\.0\.0\.4:1\); resume with an inv"
    ):
        begun("others.yml")


def test_another_image_is_refused_and_the_same_one_built_again_is_not(begun, checkout):
    write_image(checkout, reference="slicebed-agent:bb", application="bb")
    with pytest.raises(SpecError, match=r"another image \(reference slicebed-agent:aa, now slicebed-agent:bb\); "):
        begun()
    write_image(checkout, id="2")
    with GOES_ON:
        begun()


SITES = "search: {sites: [hosts.yml, others.yml]}"


def test_sites_with_a_host_in_common_are_refused_before_anything_is_begun_or_an_image_is_missed(checkout):
    checkout.image_facts.unlink()
    others = write_inventory(checkout.root / "others.yml", edge="127.0.0.2")
    with pytest.raises(SpecError) as refused:
        search(checkout, "hosts.yml", resume=False, section=SITES)
    hosts = checkout.root / "hosts.yml"
    assert str(refused.value) == (
        f"{others}: host client is at 127.0.0.2:1, as client of {hosts}; sites share no host: leave one of them out"
    )
    assert not checkout.results.exists()


def test_sites_at_other_ports_of_one_address_are_apart(checkout):
    write_inventory(checkout.root / "others.yml", port=2)
    with GOES_ON:
        search(checkout, "hosts.yml", resume=False, section=SITES)


def test_a_site_given_twice_by_other_words_is_refused(checkout):
    (checkout.root / "others.yml").symlink_to(Path(os.path.relpath(checkout.root / "hosts.yml", checkout.root)))
    with pytest.raises(SpecError, match="sites share no host"):
        search(checkout, "hosts.yml", resume=False, section=SITES)
