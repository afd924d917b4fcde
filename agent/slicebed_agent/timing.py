"""What Profile and Time ask for: checked, measured on this host as it is now, and told."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent import bench, checks, codec, config, film
from slicebed_agent.codec import lossless
from slicebed_agent.errors import AgentConfigError
from slicebed_agent.media.show import first_frame
from slicebed_agent.model import runtime
from slicebed_agent.model.execute.check import seeded_frame
from slicebed_agent.model.held import Cut
from slicebed_agent.model.profile.parts import Wanted, profile_cuts, time_slice
from slicebed_agent.model.profile.statistics import Estimate, estimate
from slicebed_agent.model.reference import Images, pool_of
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed_agent.bench import Shelf
    from slicebed_agent.film import Film
    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.pipeline.contracts import Payload, Tensors

    GoOn = Callable[[], None]

_MAX_CUTS: Final = 4096
_MAX_BATCH: Final = 65536
_MAX_SEED: Final = 2**63 - 1
_MAX_SECONDS: Final = 120.0
_MAX_PERIOD_S: Final = 10.0
_MAX_RUNS: Final = 1000
_CODEC_ROUNDS: Final = 3
_CODEC_SHARE: Final = 0.5
"""Of a profile's seconds, after which codecs are tried once only on the boundaries that are left."""
_TRANSFORMS: Final = 5


@dataclasses.dataclass(frozen=True)
class _Fed:
    """What the whole model is fed, and what the transformer took to make it of pictures."""

    frame: Tensors
    transform_s: Estimate | None = None


def profile(request: agent_pb2.ProfileRequest, shelf: Shelf, go_on: GoOn) -> agent_pb2.ProfileReply:
    """Profile a model at every cut at once.

    Args:
        request: what is asked for.
        shelf: of the agent; nobody else may take models from it meanwhile.
        go_on: raises when nobody waits for the answer any more.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
        AgentError: the model cannot be run.
    """
    begin = time.monotonic()
    sha256 = checks.sha256("model_sha256", request.model_sha256)
    if len(request.cuts) > _MAX_CUTS:
        raise checks.wrong("cuts", f"{len(request.cuts)} cuts", f"at most {_MAX_CUTS}")
    codecs = _codecs(request.codecs)
    wanted = Wanted(
        feeds=checks.tensors("feeds", request.feeds),
        fetches=checks.tensors("fetches", request.fetches),
        cuts=tuple(checks.tensors(f"cuts[{place}]", each.tensors) for place, each in enumerate(request.cuts)),
        seconds=checks.number("seconds", request.seconds, 0.0, _MAX_SECONDS),
        crossing=bool(codecs),
        period_s=checks.number("period_s", request.period_s, 0.0, _MAX_PERIOD_S),
    )
    batch, seed = _batch(request.batch), checks.within("seed", request.seed, 0, _MAX_SEED)
    shown = film.read(request.source) if request.HasField("source") else None
    if shown is not None and shown.show.batch_size != batch:
        raise checks.wrong("source.batch_size", shown.show.batch_size, f"{batch}, as batch")
    with shelf.held.executor(sha256) as executor:
        fed = (
            _Fed(_seeded(executor, wanted.feeds, seed, batch))
            if shown is None
            else _filmed(shown, executor, wanted, shelf)
        )
        found = profile_cuts(executor, wanted, fed.frame, go_on)
    until = time.monotonic() + _CODEC_SHARE * wanted.seconds
    cuts = [
        agent_pb2.CutTimes(
            before=_message(share.before),
            after=_message(share.after),
            bytes=_bytes(crossing),
            codecs=_codec_times(crossing, codecs, until, go_on),
        )
        for share, crossing in zip(found.shares, found.crossing, strict=True)
    ]
    return agent_pb2.ProfileReply(
        processor=_processor(),
        whole_s=found.whole_s,
        whole_cpu_s=found.whole_cpu_s,
        call_s=_message(found.call_s),
        cuts=cuts,
        kernels_s=found.kernels_s,
        transform_s=None if fed.transform_s is None else _message(fed.transform_s),
        took_s=time.monotonic() - begin,
    )


def time_one(request: agent_pb2.TimeRequest, shelf: Shelf, go_on: GoOn) -> agent_pb2.TimeReply:
    """Time one slice as it is, once it is warm.

    Args:
        request: what is asked for.
        shelf: of the agent; nobody else may take models from it meanwhile.
        go_on: raises when nobody waits for the answer any more.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
        AgentError: the slice cannot be run.
    """
    begin = time.monotonic()
    cut = Cut(
        checks.sha256("model_sha256", request.model_sha256),
        checks.tensors("feeds", request.feeds),
        checks.tensors("fetches", request.fetches),
    )
    batch, seed = _batch(request.batch), checks.within("seed", request.seed, 0, _MAX_SEED)
    runs, codecs = checks.within("runs", request.runs, 1, _MAX_RUNS), _codecs(request.codecs)
    held = shelf.held.take(cut, batch)
    try:
        arrays = _seeded(held.model.executor, cut.feeds, seed, batch)
        found = time_slice(held.slice, arrays, runs, go_on)
    finally:
        shelf.held.give_back(held)
    return agent_pb2.TimeReply(
        processor=_processor(),
        slice_s=found.slice_s,
        slice_cpu_s=found.slice_cpu_s,
        bytes=_bytes(found.made),
        codecs=_codec_times(found.made, codecs, float("inf"), go_on),
        took_s=time.monotonic() - begin,
    )


def _codecs(asked: Sequence[agent_pb2.Codec]) -> tuple[Codec, ...]:
    return tuple(dict.fromkeys(config.codec("codecs", each) for each in asked))


def _batch(asked: int) -> int:
    return checks.within("batch", asked, 1, _MAX_BATCH)


def _seeded(executor: Executor, feeds: Sequence[str], seed: int, batch: int) -> Tensors:
    return tuple(seeded_frame(boundary, seed, batch) for boundary in executor.describe(feeds))


def _filmed(shown: Film, executor: Executor, wanted: Wanted, shelf: Shelf) -> _Fed:
    """The camera's first frame, as the model is fed it."""
    plan = shown.show
    feeds = executor.describe(wanted.feeds)
    if plan.images in {Images.DIGITS, Images.RANDOM}:
        pool = pool_of(plan.images, feeds, plan.batch_size)
        numbers = pool.draw(plan.seed, 0, plan.batch_size)
        return _Fed(tuple(images[numbers] for images in pool.images))
    transform = None if plan.check is None else plan.check.transform
    if transform is None:
        raise AgentConfigError("none", where="source.check.transform", mend="pictures are not what a model is fed")
    with bench.film_of(shown, shelf.store) as found:
        pictures = first_frame(found)
    spent = []
    for _ in range(_TRANSFORMS):
        begin = time.perf_counter()
        frame = transform(pictures)
        spent.append(time.perf_counter() - begin)
    return _Fed(frame, estimate(spent))


def _codec_times(arrays: Tensors, codecs: Sequence[Codec], until: float, go_on: GoOn) -> list[agent_pb2.CodecTimes]:
    """What each codec does to a boundary."""
    rows = []
    for each in codecs:
        for name, encode in _encoders(each):
            spent: list[tuple[float, float]] = []
            while not spent or (len(spent) < _CODEC_ROUNDS and time.monotonic() < until):
                go_on()
                begin = time.perf_counter()
                payload = encode(arrays)
                encoded = time.perf_counter()
                codec.decode(payload)
                spent.append((encoded - begin, time.perf_counter() - encoded))
            encode_s, decode_s = (estimate(column).median for column in zip(*spent, strict=True))
            rows.append(
                agent_pb2.CodecTimes(
                    codec=f"CODEC_{each.name}",
                    filter=name,
                    bytes=payload.size_bytes,
                    encode_s=encode_s,
                    decode_s=decode_s,
                )
            )
    return rows


def _encoders(each: Codec) -> list[tuple[str, Callable[[Tensors], Payload]]]:
    """What a codec may do, by the filter's name."""
    if each is Codec.AUTO:
        return [(used.name, _filtered(used)) for used in (lossless.BITMAP, lossless.FULL)]
    made = codec.encoder(each, lambda: 0, lambda _line: None)
    return [(lossless.FULL.name if each is Codec.LOSSLESS else "", lambda arrays: made(arrays, 0))]


def _filtered(used: lossless.Filter) -> Callable[[Tensors], Payload]:
    return lambda arrays: lossless.encode(arrays, used)


def _bytes(arrays: Tensors) -> int:
    return sum(array.nbytes for array in arrays)


def _processor() -> agent_pb2.Processor:
    return agent_pb2.Processor(model=runtime.cpu_model(), cores=runtime.usable_cores())


def _message(found: Estimate) -> agent_pb2.Estimate:
    return agent_pb2.Estimate(median=found.median, low=found.low, high=found.high)
