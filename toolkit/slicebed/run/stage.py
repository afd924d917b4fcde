"""Where runs play: hosts of an inventory, on which agents are deployed before and logs gathered after."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError, SpecError
from slicebed.run.loans import put_back_limits
from slicebed.testbed.channel import open_channels
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.playbook import Playbook, run_playbook
from slicebed.testbed.sweep import change_conditions
from slicebed.testbed.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slicebed.run.progress import Progress
    from slicebed.run.store import Campaign
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.testbed import Testbed
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.image import ImageFacts
    from slicebed.testbed.inventory import InventoryHost


@dataclass(frozen=True)
class Stage:
    """Where runs play: the hosts of an inventory, the campaign that keeps what they give, and who listens.

    Attributes:
        checkout: where the playbooks are.
        inventory: Ansible's, of the hosts.
        hosts: of the inventory, those that frames pass.
        campaign: keeps runs and journal.
        progress: told what goes on.
        home: keeps the hosts' logs and Ansible's records; the campaign's folder, or one of its own for each site.
    """

    checkout: Checkout
    inventory: Path
    hosts: Mapping[str, InventoryHost]
    campaign: Campaign
    progress: Progress
    home: Path

    def play(self, name: str, tags: str | None = None, **variables: Any) -> None:
        """Run one playbook on the hosts; its record stays in `home`."""
        artifacts = self.home / "ansible" / name.removesuffix(".yml")
        playbook = Playbook(name, self.inventory, artifacts, variables, tags=tags)
        recap = run_playbook(self.checkout, playbook, lambda task: self.progress.say(f"{name}: {task}"))
        self.campaign.note("playbook", name=name, changed=recap.total_changed)

    def make_ready(self, limited: Testbed | None = None, *, deploy: bool) -> None:
        """Put back limits that a search which was killed left; make sure that host tools and agents are there and run.

        Args:
            limited: its workloads' limits are set before agents are started: they hold for what is started in their
                control groups. On loan to the campaign.
            deploy: False when host tools and agents surely are there; then no limits are set either.

        Raises:
            ProvisionError: a playbook failed, or a host did not go back.
        """
        if deploy:
            self.play("condition.yml", "host_tools")
        self._put_back_limits()
        if not deploy:
            return
        if limited is not None:
            neighbours = read_inventory(self.inventory)
            target = Target(self.checkout, limited, self.inventory, self.hosts, neighbours, frozenset({"workload"}))
            with open_channels(self.hosts) as channels:
                change_conditions(channels, target.asked({}), self.campaign.name)
        self.play("deploy.yml")

    @contextmanager
    def limits_on_loan(self) -> Iterator[None]:
        """Behind the `with` block hosts have the limits of before, those of an earlier `slicebed apply` among them."""
        try:
            yield
        finally:
            try:
                self._put_back_limits()
            except ProvisionError as error:
                # What ended the search matters more; whoever uses the hosts next puts back first.
                self.progress.say(f"limits are left: {error}")

    def _put_back_limits(self) -> None:
        put_back_limits(self.hosts, self.campaign, self.progress.say)

    def gather(self) -> None:
        """Fetch every host's agent log and facts."""
        self.play("gather.yml", gather_directory=str((self.home / "hosts").resolve()))


def hosts_of(experiment: Experiment, inventory: Path, found: Mapping[str, InventoryHost]) -> dict[str, InventoryHost]:
    """Give the hosts that frames pass; every link between them must be in the inventory.

    A configuration that is the testbed's own is set on all of the testbed's hosts.

    Args:
        experiment: names the hosts.
        inventory: the file.
        found: what it holds.

    Raises:
        SpecError: the inventory lacks a host or a link.
    """
    used = [host for placement in experiment.every_placement for host in placement.chain(experiment.chain[0])]
    whole = any(configuration.as_testbed for configuration in experiment.configurations)
    names = [name for name in experiment.testbed.host_names if whole or name in used]
    missing = [name for name in names if name not in found]
    if missing:
        raise SpecError(
            f"no host {missing[0]} in the inventory", where=str(inventory), mend=f"it has {', '.join(found)}"
        )
    for a, b in experiment.pairs:
        found[a].link_to(b)
    return {name: found[name] for name in names}


def ground_of(image: ImageFacts, *sites: Mapping[str, InventoryHost]) -> dict[str, Any]:
    """What must be the same for runs to be compared, as plain data: where every host is, and what the agents run.

    An image that was built again from the same sources is the same.

    Args:
        image: that the agents run.
        sites: the hosts of each, in the order of the sites.
    """
    return {
        "hosts": [{name: host.endpoint for name, host in site.items()} for site in sites],
        "image": {"reference": image.reference, "dependencies": image.dependencies, "base": image.base},
    }
