"""The measuring verbs of a held channel: a plain dictionary in, a plain dictionary out."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure.packet import MAX_PROBES
from slicebed_agent.host.measure.prober import Pace, ProbePlan, probe
from slicebed_agent.host.measure.requests import MAX_LIFETIME_S, Request
from slicebed_agent.host.measure.responder import Responder
from slicebed_agent.host.measure.stream import GRACE_S, MAX_SECONDS, MAX_STREAMS, WINDOW_US, Sink, run_source

if TYPE_CHECKING:
    from collections.abc import Callable

# Far more than a host has links that are measured at one time.
MAX_OPEN = 64
_MAX_US = 600_000_000
_CONGESTION = ("cubic", "reno", "bbr")
Kind = TypeVar("Kind", Responder, Sink)


class MeasureService:
    """Responders and sinks that are open on this host, by token; every verb may be called from a thread of its own."""

    def __init__(self) -> None:
        """Begin with none open."""
        self._lock = threading.Lock()
        self._open: dict[bytes, Responder | Sink] = {}

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Give every verb by its name; each raises HostError for a request that is not allowed."""
        return {
            "start_responder": self.start_responder,
            "stop_responder": self.stop_responder,
            "run_probe": self.run_probe,
            "start_sink": self.start_sink,
            "finish_sink": self.finish_sink,
            "run_source": self.run_source,
        }

    def start_responder(self, plain: dict[str, Any]) -> dict[str, Any]:
        """``{address, lifetime_s}`` -> ``{port, token}``."""
        request = Request("start_responder", plain)
        address, lifetime_s = request.address("address"), request.seconds("lifetime_s", MAX_LIFETIME_S)
        request.done()
        return self._keep(lambda: Responder(address, lifetime_s))

    def stop_responder(self, plain: dict[str, Any]) -> dict[str, Any]:
        """``{token}`` -> the fields of ResponderCounts."""
        request = Request("stop_responder", plain)
        token = request.token()
        request.done()
        return asdict(self._let_go(token, Responder).stop())

    def run_probe(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Probe one link.

        ``{source, destination, port, token, count, interval_us, timeout_us, pace, give_up_after}`` -> the fields of
        ProbeResult, the samples as three lists ``sent_us``, ``rtt_us`` and ``forward_us``.
        """
        request = Request("run_probe", plain)
        target = request.target()
        plan = ProbePlan(
            count=request.whole("count", 1, MAX_PROBES),
            interval_us=request.whole("interval_us", 100, _MAX_US),
            timeout_us=request.whole("timeout_us", 1_000, _MAX_US),
            pace=Pace(request.one_of("pace", tuple(pace.value for pace in Pace))),
            give_up_after=request.whole("give_up_after", 0, MAX_PROBES),
        )
        request.done()
        result = probe(target, plan)
        answer: dict[str, Any] = {
            name: getattr(result, name) for name in ("sent", "answers", "duplicates", "overtakings", "overflowed")
        }
        for name in ("sent_us", "rtt_us", "forward_us"):
            answer[name] = [round(getattr(sample, name), 1) for sample in result.samples]
        return answer

    def start_sink(self, plain: dict[str, Any]) -> dict[str, Any]:
        """``{address, lifetime_s}`` -> ``{port, token}``."""
        request = Request("start_sink", plain)
        address, lifetime_s = request.address("address"), request.seconds("lifetime_s", MAX_LIFETIME_S)
        request.done()
        return self._keep(lambda: Sink(address, lifetime_s))

    def finish_sink(self, plain: dict[str, Any]) -> dict[str, Any]:
        """``{token}`` -> ``{window_us, windows, refused}``; waits for the stream's end while its queue drains."""
        request = Request("finish_sink", plain)
        token = request.token()
        request.done()
        return {"window_us": WINDOW_US, **asdict(self._let_go(token, Sink).finish(GRACE_S))}

    def run_source(self, plain: dict[str, Any]) -> dict[str, Any]:
        """``{source, destination, port, token, seconds, streams, congestion}`` -> the fields of SourceReport."""
        request = Request("run_source", plain)
        target = request.target()
        seconds, streams = request.seconds("seconds", MAX_SECONDS), request.whole("streams", 1, MAX_STREAMS)
        congestion = request.some_of("congestion", _CONGESTION)
        request.done()
        return asdict(run_source(target, seconds, streams, congestion))

    def _keep(self, open_one: Callable[[], Responder | Sink]) -> dict[str, Any]:
        with self._lock:
            if len(self._open) >= MAX_OPEN:
                self._open = {token: one for token, one in self._open.items() if one.alive}
            if len(self._open) >= MAX_OPEN:
                raise HostError(f"{MAX_OPEN} measurements are open", where="measure", mend="wait until some have ended")
            one = open_one()
            self._open[one.token] = one
        return {"port": one.port, "token": one.token.hex()}

    def _let_go(self, token: bytes, kind: type[Kind]) -> Kind:
        with self._lock:
            one = self._open.get(token)
            if not isinstance(one, kind):
                raise HostError(
                    f"no {kind.__name__.lower()} of this token is open", where="measure", mend="start it first"
                )
            del self._open[token]
        return one
