"""Measuring real traffic between two namespaces: over a plain veth pair, and over a tap wire that delays and loses."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from measured import measured

from slicebed.errors import ProvisionError, VerdictError
from slicebed.lab import _wire
from slicebed.lab._wire import WireSetting
from slicebed.testbed.verify.ask import LinkAsk
from slicebed.testbed.verify.orchestrate import measure_base, verify_links
from slicebed.testbed.verify.verdict import Quantity
from slicebed_agent.host.wish import LinkCondition

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

ENDS = ("a", "b")
ADDRESS = {"a": "10.197.0.1", "b": "10.197.0.2"}
ADDRESS_6 = {"a": "fd00:197::1", "b": "fd00:197::2"}
HOST = """
import json, sys, threading
from slicebed_agent.errors import HostError
from slicebed_agent.host.measure import HANDLERS
lock = threading.Lock()
def do(message):
    try:
        answer = {"ok": HANDLERS[message["verb"]](message["request"])}
    except HostError as error:
        answer = {"error": str(error)}
    with lock:
        print(json.dumps({"id": message["id"], **answer}), flush=True)
for line in sys.stdin:
    threading.Thread(target=do, args=(json.loads(line),)).start()
"""


class PipeChannel:
    """The verbs of one namespace, over pipes: what the toolkit does over SSH."""

    def __init__(self, namespace):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.waiting = {}
        self.numbers = itertools.count()
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def call(self, verb, request, timeout_s):
        future = Future()
        with self.lock:
            number = next(self.numbers)
            self.waiting[number] = future
            self.process.stdin.write(json.dumps({"id": number, "verb": verb, "request": request}) + "\n")
            self.process.stdin.flush()
        answer = future.result(timeout_s)
        if "error" in answer:
            raise ProvisionError(answer["error"])
        return answer["ok"]

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            self.waiting.pop(answer.pop("id")).set_result(answer)

    def close(self):
        self.process.stdin.close()
        self.reader.join()
        self.process.stdout.close()
        self.process.wait()

    def cpu_s(self):
        spent = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(int(ticks) for ticks in spent) / os.sysconf("SC_CLK_TCK")


def command(*words):
    subprocess.run(words, check=True, capture_output=True)


def namespace(end):
    return f"sbm-{os.getpid()}-{end}"


@pytest.fixture
def namespaces():
    for end in ENDS:
        command("ip", "netns", "add", namespace(end))
    yield
    for end in ENDS:
        command("ip", "netns", "del", namespace(end))


@pytest.fixture
def channels(namespaces):
    with contextlib.ExitStack() as stack:
        opened = {}
        for end in ENDS:
            opened[end] = PipeChannel(namespace(end))
            stack.callback(opened[end].close)
        yield opened


def address(end):
    name = namespace(end)
    command("ip", "-n", name, "addr", "add", f"{ADDRESS[end]}/30", "dev", f"link-{end}")
    command("ip", "-n", name, "addr", "add", f"{ADDRESS_6[end]}/64", "dev", f"link-{end}", "nodad")
    for device in ("lo", f"link-{end}"):
        command("ip", "-n", name, "link", "set", device, "up")


@pytest.fixture
def veth(namespaces):
    peer = ["peer", "name", "link-b", "netns", namespace("b")]
    command("ip", "-n", namespace("a"), "link", "add", "link-a", "type", "veth", *peer)
    for end in ENDS:
        address(end)


@pytest.fixture
def wire(namespaces, tmp_path):
    """Lay a tap wire between the ends; returns what sets both of its directions."""
    report, ready = os.pipe()
    wanted = {
        "forward_from": [f"/run/netns/{namespace('a')}", "link-a"],
        "backward_from": [f"/run/netns/{namespace('b')}", "link-b"],
        "control": str(tmp_path / "control"),
        "ready_fd": ready,
    }
    program = [sys.executable, "-I", "-S", _wire.__file__, json.dumps(wanted)]
    with subprocess.Popen(program, pass_fds=[ready]) as process:
        os.close(ready)
        try:
            assert os.read(report, 4096) == b"ready\n"
            for end in ENDS:
                address(end)

            def put(forward, backward=None):
                message = {"forward": forward.to_plain(), "backward": (backward or forward).to_plain()}
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                    client.connect(str(tmp_path / "control"))
                    client.sendall(json.dumps(message).encode())
                    assert "error" not in json.loads(client.recv(65536))

            yield put
        finally:
            os.close(report)
            process.terminate()


def limit(end, rate):
    device = ["dev", f"link-{end}"]
    command("tc", "-n", namespace(end), "qdisc", "add", *device, "root", "handle", "1:", "htb", "default", "1")
    command("tc", "-n", namespace(end), "class", "add", *device, "parent", "1:", "classid", "1:1", "htb", "rate", rate)


def pinged_ms(count=300, interval_s=0.002):
    done = subprocess.run(
        [
            "nsenter",
            f"--net=/run/netns/{namespace('a')}",
            "ping",
            "-c",
            str(count),
            "-i",
            str(interval_s),
            ADDRESS["b"],
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(found) for found in re.findall(r"time=([0-9.]+) ms", done.stdout)]


def ask(forward=None, backward=None, rtt_us=None, jitter_us=0, addresses=ADDRESS):
    return LinkAsk(
        a="a",
        b="b",
        address_a=addresses["a"],
        address_b=addresses["b"],
        forward=forward or LinkCondition(),
        backward=backward or forward or LinkCondition(),
        rtt_us=rtt_us,
        rtt_jitter_us=jitter_us,
        wire="tap",
    )


def in_quiet(verify):
    """Verify again, once, when something failed: a machine that stands still for 30 ms delays every packet.

    What is busy for longer is gone when the whole test is run again, later, as `measured` says.
    """
    for _ in range(2):
        verdicts = verify()
        failed = [verdict for verdict in verdicts if not verdict.passed]
        if not failed:
            break
    if any(verdict.detail.endswith("later than the condition can make them") for verdict in failed):
        pytest.skip(f"this machine stands still too often to measure on: {failed[0].detail}")
    return verdicts


def by_quantity(verdicts, link=None):
    return {verdict.quantity: verdict for verdict in verdicts if link in {None, verdict.link}}


@measured
@pytest.mark.parametrize("addresses", [ADDRESS, ADDRESS_6], ids=["IPv4", "IPv6"])
def test_an_unshaped_pair_costs_well_below_a_tenth_of_a_millisecond_and_little_of_the_processor(
    veth, channels, addresses
):
    link = ask(rtt_us=0, addresses=addresses)
    assert 0 < measure_base(channels, [link])["a", "b"] < 100
    before, began = channels["a"].cpu_s(), time.monotonic()
    verdicts = by_quantity(verify_links(channels, [link]), "a -> b")
    assert channels["a"].cpu_s() - before < 0.5 * (time.monotonic() - began)
    round_trip = verdicts[Quantity.RTT]
    assert round_trip.passed
    assert round_trip.measured < 0.1
    assert round_trip.high - round_trip.low < 0.05
    assert verdicts[Quantity.LOSS].passed


@measured
def test_a_delay_is_measured_as_ping_measures_it(wire, channels):
    wire(WireSetting(delay_us=500))
    # At the same pace: a machine that sleeps longer between packets wakes up later.
    seen = []
    for _ in range(3):
        pinged = statistics.median(pinged_ms())
        measured = measure_base(channels, [ask(rtt_us=1000)])["a", "b"] / 1000
        seen.append(measured - pinged)
    assert abs(statistics.median(seen)) < 0.05, seen


@measured
def test_jitter_rate_and_round_trip_are_found_as_asked_in_each_direction(wire, channels):
    wire(WireSetting(delay_us=5_000, jitter_us=1_000))
    limit("a", "20mbit")
    limit("b", "5mbit")
    there = LinkCondition(delay_us=5_000, jitter_us=1_000, rate_bit_per_s=20_000_000)
    back = replace(there, rate_bit_per_s=5_000_000)
    verdicts = in_quiet(lambda: verify_links(channels, [ask(there, back, rtt_us=10_000, jitter_us=1_414)]))
    assert [str(verdict) for verdict in verdicts if not verdict.passed] == []
    rates = {verdict.link: verdict for verdict in verdicts if verdict.quantity is Quantity.GOODPUT}
    assert rates["a -> b"].expected == pytest.approx(20 * 1448 / 1514)
    assert rates["b -> a"].expected == pytest.approx(5 * 1448 / 1514)
    assert by_quantity(verdicts)[Quantity.JITTER].samples > 780


def test_conditions_other_than_asked_fail(wire, channels):
    wire(WireSetting(delay_us=5_000, jitter_us=1_000, loss=0.02), WireSetting(delay_us=5_000, jitter_us=1_000))
    limit("a", "10mbit")
    wrong = LinkCondition(delay_us=4_500, jitter_us=700, duplicate=0.1, rate_bit_per_s=11_000_000)
    asked = ask(wrong, replace(wrong, rate_bit_per_s=None), rtt_us=9_000, jitter_us=990)
    verdicts = by_quantity(verify_links(channels, [asked]), "a -> b")
    for quantity in (Quantity.RTT, Quantity.JITTER, Quantity.GOODPUT, Quantity.LOSS, Quantity.DUPLICATE):
        assert not verdicts[quantity].passed, verdicts[quantity]


@measured
def test_loss_duplicates_and_order_are_told_apart_by_direction(wire, channels):
    wire(WireSetting(delay_us=5_000, loss=0.05, reorder=0.25), WireSetting(delay_us=5_000, duplicate=0.1))
    there = LinkCondition(delay_us=5_000, loss=0.05, reorder=0.25)
    back = LinkCondition(delay_us=5_000, duplicate=0.1)
    verdicts = verify_links(channels, [ask(there, back)])
    assert [str(verdict) for verdict in verdicts if not verdict.passed] == []
    asked = {
        ("a -> b", Quantity.LOSS): 0.05,
        ("a -> b", Quantity.REORDER): 0.25,
        ("b -> a", Quantity.LOSS): 0.0,
        ("b -> a", Quantity.DUPLICATE): 0.1,
    }
    found = {(verdict.link, verdict.quantity): verdict.measured for verdict in verdicts}
    assert {key: found[key] for key in asked} == pytest.approx(asked, abs=0.03)


@measured
def test_jitter_on_one_direction_only_is_found_there(wire, channels):
    wire(WireSetting(delay_us=10_000, jitter_us=2_000), WireSetting(delay_us=10_000))
    there, back = LinkCondition(delay_us=10_000, jitter_us=2_000), LinkCondition(delay_us=10_000)
    right = in_quiet(lambda: verify_links(channels, [ask(there, back, rtt_us=20_000, jitter_us=2_000)]))
    one_way = {verdict.link: verdict for verdict in right if verdict.quantity is Quantity.ONE_WAY_JITTER}
    # A busy machine adds its own to both; what is held still must yet be told from what varies.
    assert one_way["a -> b"].measured == pytest.approx(2.0, rel=0.25)
    assert one_way["b -> a"].measured < 0.5 * one_way["a -> b"].measured
    swapped = verify_links(channels, [ask(back, there, rtt_us=20_000, jitter_us=2_000)])
    failed = {(verdict.link, verdict.quantity) for verdict in swapped if not verdict.passed}
    assert failed >= {("a -> b", Quantity.ONE_WAY_JITTER), ("b -> a", Quantity.ONE_WAY_JITTER)}


def test_an_unreachable_peer_is_an_error_that_names_the_link(veth, channels):
    command("tc", "-n", namespace("a"), "qdisc", "add", "dev", "link-a", "root", "tbf", *TINY)
    with pytest.raises(VerdictError, match=r"a -> b: none of 10 probes reached b \(10\.197\.0\.1 to 10\.197\.0\.2\)"):
        verify_links(channels, [ask(rtt_us=1_000)])
    with pytest.raises(VerdictError, match=r"a -> b: 10\.197\.0\.2 does not answer 10\.197\.0\.1"):
        measure_base(channels, [ask(rtt_us=1_000)])


# No packet of a probe's size ever fits this bucket.
TINY = ("rate", "8kbit", "burst", "50", "limit", "100")
