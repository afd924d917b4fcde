"""Profiles of a space's hosts, made on the testbed before its first cell, and what they foretell."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.assignments import source_config
from slicebed.run.search.forecast import Facts, LinkFacts, forecast, with_times
from slicebed.run.search.profile_record import read_profile
from slicebed.run.search.profiles import Limits, Profiles, Subject, knobs_of, obtain, spent_s
from slicebed.run.search.space import makers_of
from slicebed.run.store import write_json
from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.bench import Links
    from slicebed.run.search.profiles import HostProfile, Knobs
    from slicebed.run.search.space import Space
    from slicebed.run.search.worker import SiteWorker
    from slicebed.split.search.contracts import Candidate, Foretold, Measure

_FOLDER = "profiles"


@dataclass(frozen=True)
class Foresight:
    """What profiles of the hosts tell of a space.

    Attributes:
        candidates: the space's, with what they compute.
        foretell: predictions of all of them.
        testbed_s: seconds that the hosts were used for the profiles that were made under this condition.
    """

    candidates: tuple[Candidate, ...]
    foretell: Callable[[Sequence[Measure]], Mapping[str, Foretold]]
    testbed_s: float


def foresee(worker: SiteWorker, space: Space, earlier: Path | None) -> Foresight:
    """Profile every host of a space under each setting of its knobs, and verify its links.

    What was measured is kept in the campaign's ``profiles``, so that a search that is gone on with foretells the same.

    Args:
        worker: has the hosts.
        space: to be foretold.
        earlier: an earlier search's folder, or its ``profiles``, which are taken where they fit.

    Raises:
        RunError: an agent cannot profile the model; likewise ProvisionError.
        VerdictError: a link is not as asked.
        SpecError: a file of ``profiles`` cannot be read.
    """
    if earlier is not None and (earlier / _FOLDER).is_dir():
        earlier /= _FOLDER
    campaign = worker.bench.stage.campaign
    folder = campaign.folder / _FOLDER
    folder.mkdir(exist_ok=True)
    worker.subject(space)
    subject, links = _subject(space), None
    found: dict[tuple[str, Knobs], HostProfile] = {}
    for knobs in dict.fromkeys(variant.knobs for variant in space.variants.values()):
        own = {host: knobs_of(dict(knobs), host) for host in _hosts(space)}
        missing = [host for host, values in own.items() if (host, values) not in found]
        if missing:
            links = worker.set_conditions(space, knobs)
        testbed = space.experiment_at(knobs).testbed
        for host in missing:
            worker.bench.stage.progress.say(f"{space.id}: profiling {host}")
            found[host, own[host]] = obtain(
                worker.bench.connections[host],
                subject,
                Limits.of(testbed.host(host)),
                folder,
                condition=space.condition,
                earlier=earlier,
            )
    path = _links_path(folder, space)
    if path.is_file():
        kept = _Kept.read(path)
    else:
        # As the files say: some of them may be from before this campaign was gone on with.
        kept = _Kept(_links(space, links), spent_s(folder, subject, space.condition))
        kept.write(path)
        campaign.note("profiled", problem=space.id, testbed_s=kept.testbed_s)
    profiles = Profiles(found)
    candidates = with_times(space.candidates, profiles)
    facts = Facts(space.experiment, space.configuration, space.frames)
    return Foresight(candidates, forecast(facts, candidates, profiles, kept.links), kept.testbed_s)


def check_kept(campaign: Path, spaces: Iterable[Space]) -> None:
    """Read what a campaign keeps of profiles and links already, so that what is spoilt shows at once.

    Args:
        campaign: its folder.
        spaces: that are searched.

    Raises:
        SpecError: a file cannot be read.
    """
    folder = campaign / _FOLDER
    of_links = {_links_path(folder, space) for space in spaces}
    for path in sorted(folder.glob("*.json")):
        if path in of_links:
            _Kept.read(path)
        else:
            read_profile(path)


@dataclass(frozen=True)
class _Kept:
    """What a campaign keeps of a space beside the profiles of its hosts.

    Attributes:
        links: by sender and receiver.
        testbed_s: as of `Foresight`.
    """

    links: Mapping[tuple[str, str], LinkFacts]
    testbed_s: float

    def write(self, path: Path) -> None:
        links = [{"sender": a, "receiver": b, "facts": asdict(facts)} for (a, b), facts in self.links.items()]
        write_json(path, {"links": links, "testbed_s": self.testbed_s})

    @classmethod
    def read(cls, path: Path) -> _Kept:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            links = {(each["sender"], each["receiver"]): each["facts"] for each in plain["links"]}
            read = {
                pair: LinkFacts(int(facts["rate_bit_per_s"]), float(facts["rtt_s"]), float(facts["jitter_s"]))
                for pair, facts in links.items()
            }
            return cls(read, float(plain["testbed_s"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"not what was measured of links: {type(error).__name__}: {error}"
            raise SpecError(what, where=str(path), mend="remove the file, and they are measured again") from error


def _links_path(folder: Path, space: Space) -> Path:
    return folder / (re.sub(r"[^A-Za-z0-9_.-]", "_", f"links_{space.id}") + ".json")


def _subject(space: Space) -> Subject:
    """What of the model is profiled: every point at which a candidate cuts it."""
    sliced, maker = space.sliced, makers_of(space.opened)
    places = {
        name: tensors
        for variant in space.variants.values()
        for name, tensors in zip(variant.candidate.cut, sliced.boundaries[variant.cut][1:-1], strict=True)
    }
    points = dict(sorted(places.items(), key=lambda item: max(maker[tensor] for tensor in item[1])))
    codecs = tuple(dict.fromkeys(Codec(candidate.codec) for candidate in space.candidates))
    batch = space.experiment.source.batch_size
    # What compresses well depends on what is seen, and pictures are to be transformed.
    camera = source_config(space.experiment, sliced, space.frames)
    return Subject(
        model=sliced.name,
        sha256=sliced.sha256,
        feeds=sliced.feeds,
        fetches=(sliced.answer,),
        points=points,
        batch=batch,
        codecs=codecs,
        camera=camera,
        film_bytes=0 if sliced.pictures is None else sliced.pictures.size_bytes,
    )


def _hosts(space: Space) -> list[str]:
    """Those that compute anything for a frame, or whose codec costs anything, each once."""
    found: list[str] = []
    for variant in space.variants.values():
        placement = variant.placement
        found += placement.slices
        found += [] if placement.transformer is None else [placement.transformer]
        if variant.codec is not Codec.RAW:
            found += [end for each in variant.candidate.boundaries for end in (each.sender, each.receiver)]
    return list(dict.fromkeys(found))


def _links(space: Space, links: Links | None) -> dict[tuple[str, str], LinkFacts]:
    """Every link of a candidate in the direction that its frames take: its rate as asked, its measured round trip."""
    measured = (
        {} if links is None else {frozenset((each.a, each.b)): each.median_rtt_ms / 1000 for each in links.verdicts}
    )
    jitter = {} if links is None else {frozenset((each.a, each.b)): each.jitter_us / 1e6 for each in links.trips}
    found = {}
    for boundary in (boundary for candidate in space.candidates for boundary in candidate.boundaries):
        pair = frozenset((boundary.sender, boundary.receiver))
        facts = LinkFacts(boundary.rate_bit_per_s, measured.get(pair, boundary.rtt_s), jitter.get(pair, 0.0))
        found[boundary.sender, boundary.receiver] = facts
    return found
