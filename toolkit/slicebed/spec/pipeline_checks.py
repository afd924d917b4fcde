"""What must hold between an experiment's placements, its chain, its queues and what its camera sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed.spec.cut_checks import cut_list_problems
from slicebed.spec.models import Images
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.spec.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.spec.document import Document, Location
    from slicebed.spec.problems import Mark
    from slicebed.spec.testbed import Testbed

_STAGE_KEYS = ("transformer", "slices", "classifier")


def placements_of(document: Document) -> list[tuple[int, dict[str, Any]]]:
    """The placements that are mappings, each with its index."""
    said = document.data.get("placements")
    return (
        [(index, each) for index, each in enumerate(said) if isinstance(each, dict)] if isinstance(said, list) else []
    )


def pipeline_problems(document: Document, chain: list[str] | None, testbed: Testbed | None) -> list[Problem]:
    """Every mistake of placements and queues; those with chain and testbed only where these are known."""
    problems = [*_either(document), *_stage_problems(document)]
    seen: set[str] = set()
    for index, each in placements_of(document):
        name = str(each.get("name"))
        if name in seen:
            mark = document.value_mark(("placements", index, "name"))
            problems.append(Problem(mark, f'placement "{name}" is given twice', "each name once"))
        seen.add(name)
        problems += _transformer_problems(document, index, each)
        problems += _cut_problems(document, index, each)
        if chain is not None:
            problems += _host_problems(document, index, each, chain, testbed)
    return problems


def picture_source(document: Document) -> bool | None:
    """Whether the camera sees pictures that need a transformer; None where the file does not tell."""
    source = document.data.get("source")
    if not isinstance(source, dict):
        return None
    asked = source.get("images")
    if asked is None:
        return source.get("video") is not None or source.get("folder") is not None
    return Images(asked).are_pictures if asked in list(Images) else None


def _either(document: Document) -> Iterator[Problem]:
    """Cuts of the chain, or placements with cuts of their own."""
    placed, cut = (document.data.get(key) is not None for key in ("placements", "cuts"))
    if placed and cut:
        yield Problem(document.key_mark(("cuts",)), "cuts besides placements", "cuts: inside each placement")
    elif not placed and not cut:
        yield Problem(document.value_mark(()), 'missing key "cuts"', "cuts, or placements with cuts of their own")
    if document.data.get("placements") == []:
        yield Problem(document.value_mark(("placements",)), "placements: an empty list", "at least one placement")


def _stage_problems(document: Document) -> Iterator[Problem]:
    stages = document.data.get("stages")
    given = stages if isinstance(stages, dict) else {}
    placed = [each for _, each in placements_of(document)]
    used = {
        StageKind.TRANSFORMER: picture_source(document) is not False,
        StageKind.EXIT: bool(document.data.get("exits")),
        StageKind.CLASSIFIER: any(each.get("classifier") is not None for each in placed),
    }
    for kind, has in used.items():
        if kind.value in given and not has:
            allowed = f"the queue of a stage that the experiment has; no {kind.value} is placed anywhere"
            yield Problem(document.key_mark(("stages", kind.value)), f"a queue for no {kind.value}", allowed)
    source = document.data.get("source")
    if isinstance(source, dict) and source.get("drop") == Drop.NEVER:
        allowed = f"{Drop.NEWEST}, {Drop.OLDEST}: a camera does not wait"
        yield Problem(document.value_mark(("source", "drop")), f'drop: "{Drop.NEVER}" at the camera', allowed)


def _transformer_problems(document: Document, index: int, placement: dict[str, Any]) -> Iterator[Problem]:
    pictures = picture_source(document)
    if pictures is None:
        return
    location: Location = ("placements", index, "transformer")
    if pictures and placement.get("transformer") is None:
        allowed = "transformer: HOST, which makes pictures into what the model is fed"
        yield Problem(document.value_mark(location), "no transformer for the camera's pictures", allowed)
    elif not pictures and placement.get("transformer") is not None:
        allowed = (
            f"{Images.VIDEO}, {Images.FOLDER}, {Images.SYNTHETIC} under source.images; others are as the model is fed"
        )
        yield Problem(document.key_mark(location), "a transformer, but no pictures", allowed)


def _cut_problems(document: Document, index: int, placement: dict[str, Any]) -> list[Problem]:
    slices, location = placement.get("slices"), ("placements", index, "cuts")
    if not isinstance(slices, list):
        return []
    given = placement.get("cuts")
    if len(slices) == 1 and given is not None:
        return [Problem(document.key_mark(location), "cuts of one slice", "none: one slice is the whole model")]
    if len(slices) > 1 and given is None:
        return [Problem(document.value_mark(location), f"no cuts for {len(slices)} slices", "cuts: [...]")]
    hosts = slices if all(isinstance(name, str) for name in slices) else None
    return cut_list_problems(document, location, given, hosts, "slices on")


def _host_problems(
    document: Document, index: int, placement: dict[str, Any], chain: list[str], testbed: Testbed | None
) -> Iterator[Problem]:
    """Hosts outside the chain, stages that go back along it, and hosts that follow each other without a link."""
    before = chain[0] if chain else ""
    for key, host, mark in _hosts(document, index, placement):
        if host not in chain:
            yield Problem(mark, f'{key}: host "{host}" is not in the chain', f"{', '.join(chain)}")
            continue
        if chain.index(host) < chain.index(before):
            allowed = f"stages in the order of the chain: {', '.join(chain)}"
            yield Problem(mark, f"{key}: {host} lies before {before}, which the frames have reached", allowed)
            continue
        known = testbed is not None and {host, before} <= set(testbed.host_names)
        if testbed is not None and known and host != before and testbed.link(before, host) is None:
            linked = ", ".join(f"{link.a}-{link.b}" for link in testbed.links) or "none"
            yield Problem(
                mark, f"{before} and {host} are not linked", f"neighbours linked by {testbed.path} ({linked})"
            )
        before = host


def _hosts(document: Document, index: int, placement: dict[str, Any]) -> Iterator[tuple[str, str, Mark]]:
    """The host of every stage, in their order."""
    for key in _STAGE_KEYS:
        said = placement.get(key)
        location: Location = ("placements", index, key)
        if isinstance(said, str):
            yield key, said, document.value_mark(location)
        elif isinstance(said, list):
            for place, host in enumerate(said):
                if isinstance(host, str):
                    yield key, host, document.value_mark((*location, place))
