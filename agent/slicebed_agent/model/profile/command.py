"""A model by its name, profiled on this host into a file."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.load import open_model
from slicebed_agent.model.profile.measure import Options, profile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed_agent.model.profile.record import Profile
    from slicebed_agent.model.source import ModelSource

# Above this a segment leaves nothing to choose.
_MOST: Final = 0.8


def profile_apart(source: ModelSource, options: Options) -> Profile:
    """Profile a model in a process made for it, whatever this one has done with TensorFlow.

    Opening the model is a process of its own too: freezing it starts TensorFlow's Python, whose threads and memory are
    no part of what runs slices.

    Args:
        source: of the model.
        options: see `measure.profile`.

    Raises:
        AgentConfigError: the model or the options are wrong.
        AgentError: see `measure.profile`; or the process was killed.
    """
    options.check()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        try:
            frozen = pool.submit(open_model, source).result()
            return pool.submit(profile, frozen, options).result()
        except BrokenProcessPool as error:
            raise AgentError(
                "the process that profiles was killed",
                where=source.argument,
                mend="check the kernel's log: memory ran out?",
            ) from error


def profile_to_file(source: ModelSource, out: Path, options: Options) -> Profile:
    """Profile a model and keep what was found; the file is written wholly or not at all.

    Args:
        source: of the model.
        out: of the profile; one that is there already is replaced.
        options: see `measure.profile`.

    Raises:
        AgentConfigError: the model or the options are wrong, or the file cannot be written, which is tried first.
        AgentError: see `profile_apart`.
    """
    partial = out.with_name(f"{out.name}.{secrets.token_hex(4)}.partial")
    try:
        with _writing(out):
            partial.touch()
        found = profile_apart(source, options)
        with _writing(out):
            partial.write_text(found.to_json(), encoding="utf-8")
            partial.replace(out)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before says more
            partial.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AgentConfigError(
            f"cannot write it: {error.strerror or error}", where=str(out), mend="check the folder, its rights and space"
        ) from error


def summary(found: Profile) -> str:
    """The profile in two lines, with intervals; more on operators, and on a segment that is nearly everything."""
    cores = ",".join(map(str, found.host.cores))
    text = (
        f"{found.model}: whole {found.whole.time_s.scaled(1e3)} ms on cores {cores},"
        f" {len(found.segments)} segments, their sum {found.sum.time_s.scaled(1e3)} ms\n"
        f"sum : whole {found.sum.to_whole}; without the calls ({found.sum.call_s.scaled(1e6)} us each)"
        f" {found.sum.without_calls_to_whole}"
    )
    if found.operators is not None:
        own = sum(row.kernel == row.name for row in found.operators.rows)
        text += (
            f"\n{own} of {len(found.operators.rows)} operators have a kernel of their own, their sum : whole"
            f" {found.operators.sum_to_whole}; traced : whole {found.operators.traced_to_whole}"
        )
    longest = max(found.segments, key=lambda each: each.time_s.median)
    if longest.time_s.median > _MOST * found.whole.time_s.median:
        text += (
            f"\nthe segment to {longest.name} is {longest.time_s.median / found.whole.time_s.median:.0%} of the whole: "
            "no other cut can be told from this; more places are found with a higher --max-tensors"
        )
    return text
