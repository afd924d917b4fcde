"""Knobs: what of a host a search varies, beside where the model is cut."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import TypeAdapter, ValidationError

from slicebed.errors import SpecError
from slicebed.spec.problems import did_you_mean
from slicebed.spec.schema import Governor, frequency_khz, number, whole
from slicebed.spec.testbed_model import MAX_CORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed.spec.testbed import Host, Testbed

_KINDS: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {
        "cores": TypeAdapter(Annotated[int, whole(1, MAX_CORE + 1)]),
        "quota": TypeAdapter(Annotated[float, number(0.01, MAX_CORE + 1)]),
        "frequency": TypeAdapter(Annotated[int, frequency_khz("100 MHz", "10 GHz")]),
        "governor": TypeAdapter(Governor),
    }
)
KNOBS = tuple(_KINDS)
"""The knobs of every host: the first N of its workload's cores, its processor time, fixed frequency, governor."""
WORKLOAD_KNOBS = frozenset({"cores", "quota"})
"""Those of the conditions' part `workload`; the others belong to `cpu`."""


def split_knob(name: str, hosts: Iterable[str]) -> tuple[str, str]:
    """Host and knob of ``edge.cores``.

    Raises:
        SpecError: it is none of these hosts', or there is no such knob; with the nearest name.
    """
    host, _, knob = name.partition(".")
    known = list(hosts)
    for kind, word, words in (("host", host, known), ("knob", knob, list(KNOBS))):
        if word not in words:
            allowed = f"HOST.KNOB with a host of {', '.join(known)} and a knob of {', '.join(KNOBS)}"
            raise SpecError(f'{name}: unknown {kind} "{word}"{did_you_mean(word, words)}', mend=f"allowed: {allowed}")
    return host, knob


def read_knob(knob: str, value: object) -> float | str:
    """A knob's value as it stands in a file; frequencies come as kHz.

    Raises:
        SpecError: it is no such value; ``mend`` says what is.
    """
    try:
        read: float | str = _KINDS[knob].validate_python(value)
    except ValidationError as error:
        told = error.errors(include_url=False)[0]["ctx"]
        raise SpecError(f"{knob}: {told['what']}", mend=f"allowed: {told['allowed']}") from None
    return read


def with_knobs(testbed: Testbed, knobs: Mapping[str, float | str]) -> Testbed:
    """The testbed as it is wanted under these values, which `read_knob` gave, by `HOST.KNOB`.

    Raises:
        SpecError: a name is no knob of this testbed.
    """
    hosts = {host.name: host for host in testbed.hosts}
    for name, value in knobs.items():
        host, knob = split_knob(name, hosts)
        hosts[host] = _turned(hosts[host], knob, value)
    return replace(testbed, hosts=tuple(hosts.values()))


def _turned(host: Host, knob: str, value: float | str) -> Host:
    match knob:
        case "cores":
            count = int(value)
            return replace(host, cores=tuple(range(count)) if host.cores is None else host.cores[:count])
        case "quota":
            return replace(host, cpu_quota=float(value))
        case "frequency":
            return replace(host, cpu_frequency_khz=int(value), cpu_min_khz=None, cpu_max_khz=None)
        case _:
            return replace(host, governor=str(value))
