"""A tap wire between two namespaces of the tests' own, held against what is asked of it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from measured import measured
from packet_stream import arrived

from slicebed.errors import ConflictError, MissingRequirementError, ProvisionError, SpecError
from slicebed.lab import checks, paths, read_wire, set_wire, tools, wire_setting
from slicebed.lab.layout import WireKind, plan_lab
from slicebed.lab.state import LabState, Phase, write_state
from slicebed.lab.wires import WireSetting, start_tap_wire
from slicebed.spec.testbed import load_testbed
from slicebed.spec.wishes import wire_wishes

REPOSITORY = Path(__file__).parents[2]
MARKER = "SLICEBED_TEST_WIRES"
LEFT, RIGHT = "sb-wires-left", "sb-wires-right"
RIGHT_ADDRESS = "10.218.0.2"
# An Ethernet frame of 1,514 bytes carries 1,448 bytes of TCP payload when timestamps are on.
GOODPUT_SHARE = 1448 / 1514
TESTBED = """\
name: wires
hosts: {wires-left: {role: x}, wires-right: {role: x}}
links: [{between: [wires-left, wires-right], one_way: 0 ms}]
lab: {management: 10.219.0.0/24, data: 10.218.0.0/16}
"""


def _why_not() -> str | None:
    try:
        checks.require_root()
        checks.require_programs({"ip": "iproute2", "ping": "iputils-ping", "setsid": "util-linux"})
        checks.require_kernel(WireKind.TAP)
    except MissingRequirementError as error:
        return str(error)
    return None


pytestmark = [pytest.mark.lab, pytest.mark.skipif(_why_not() is not None, reason=f"no wires here: {_why_not()}")]


@pytest.fixture(scope="module")
def plan():
    """A lab of nothing but one wire; its state is where `set_wire` looks for it."""
    # A unix socket's path may not exceed 107 bytes, which pytest's own folders may.
    folder = Path(tempfile.mkdtemp(prefix="sb-wires-"))
    with pytest.MonkeyPatch.context() as patch:
        # Not the lab's: `slicebed lab down` ends every process that wears its own.
        patch.setattr(tools, "MARKER", MARKER)
        for name, path in {"LAB_DIR": "", "STATE_FILE": "state.json", "WIRES_DIR": "wires"}.items():
            patch.setattr(paths, name, folder / path)
        (folder / "t.yml").write_text(TESTBED)
        plan = plan_lab(load_testbed(folder / "t.yml"), WireKind.TAP)
        lab_id = uuid.uuid4().hex
        write_state(LabState(lab_id, Phase.UP, plan, folder / "hosts.yml", ()))
        for namespace in (LEFT, RIGHT):
            ip(f"netns add {namespace}")
        try:
            start_tap_wire(plan, plan.links[0], lab_id)
            for namespace, end in zip((LEFT, RIGHT), plan.links[0].ends, strict=True):
                ip(f"-n {namespace} address add {end.address} dev {end.interface}")
                ip(f"-n {namespace} link set {end.interface} up")
            yield plan
        finally:
            for pid in marked(lab_id):
                os.kill(pid, signal.SIGKILL)
            for namespace in (LEFT, RIGHT):
                ip(f"netns delete {namespace}")
            shutil.rmtree(folder)


def marked(lab_id: str) -> list[int]:
    mark = f"{MARKER}={lab_id}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def ip(words: str) -> str:
    return subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True).stdout


def inside(namespace: str, words: str) -> str:
    command = ["ip", "netns", "exec", namespace, *words.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ping(count: int, every_s: float) -> list[float]:
    return [float(found) for found in re.findall(r"time=([\d.]+)", pings(count, every_s))]


def pings(count: int, every_s: float = 0.002) -> str:
    """What eight ping processes print: one alone does not send more often than the kernel's tick."""
    command = ["ip", "netns", "exec", LEFT, "ping", "-n", "-i", str(every_s), "-c", str(count // 8), RIGHT_ADDRESS]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    return "".join(process.communicate()[0] for process in running)


def put(forward: WireSetting, backward: WireSetting | None = None):
    return set_wire("wires-left", "wires-right", forward=forward, backward=backward or forward)


def links_of(name: str):
    """The links of a shipped testbed: what is asked, and what their wires would be told."""
    testbed = load_testbed(REPOSITORY / "inventory/testbeds" / f"{name}.yml")
    plan = plan_lab(testbed, WireKind.TAP)
    wires = {(wire["a"], wire["b"]): wire for wire in plan.wire_wishes}
    assert wires
    return [(link, wires[link.a, link.b]) for link in testbed.links]


def published(*names: str):
    return [pytest.param(*each, id=f"{name} {each[0].a}-{each[0].b}") for name in names for each in links_of(name)]


def put_published(wire) -> None:
    put(wire_setting(wire["forward"]), wire_setting(wire["backward"]))


@measured
def test_a_fresh_wire_adds_next_to_nothing(plan):
    put(WireSetting())
    assert statistics.median(ping(80, 0.01)) < 1


@measured
@pytest.mark.parametrize(("link", "wire"), published("couper_table3"))
def test_round_trip_and_jitter_are_those_of_table_3(plan, link, wire):
    put_published(wire)
    # Enough of them that chance alone misses 2 % of the mean less than once in ten thousand times.
    values = ping(4000, 0.002)
    asked_ms, jitter_ms = link.asked.rtt_us / 1000, link.asked.rtt_jitter_us / 1000
    # The median, as below; of a normal distribution it is the mean.
    assert statistics.median(values) == pytest.approx(asked_ms, abs=max(0.02 * asked_ms, 0.3))
    assert statistics.stdev(values) == pytest.approx(jitter_ms, rel=0.15)


@measured
@pytest.mark.parametrize(("link", "wire"), published("couper_table4_low", "couper_table4_mid", "couper_table4_high"))
def test_round_trip_is_that_of_table_4(plan, link, wire):
    put_published(wire)
    asked_ms = link.asked.rtt_us / 1000
    # The median: now and then a busy machine holds the pings themselves up.
    assert statistics.median(ping(200, 0.01)) == pytest.approx(asked_ms, abs=max(0.02 * asked_ms, 0.3))


@measured
@pytest.mark.skipif(shutil.which("iperf3") is None, reason="iperf3 is not installed")
@pytest.mark.parametrize(("link", "wire"), published("couper_table3"))
def test_tcp_fills_the_rate_that_its_host_sets_over_the_jitter_of_the_wire(plan, link, wire):
    put_published(wire)
    rate = link.forward.rate_bit_per_s
    interface = plan.links[0].ends[0].interface
    inside(LEFT, f"tc qdisc add dev {interface} root handle 1: htb default 1")
    try:
        inside(LEFT, f"tc class add dev {interface} parent 1: classid 1:1 htb rate {rate}bit burst {rate // 800}b")
        arrived_bit_per_s = arriving()
    finally:
        inside(LEFT, f"tc qdisc delete dev {interface} root")
    # No second is full over a wire that loses, reorders or is too slow; a stolen processor empties single seconds.
    assert statistics.median(arrived_bit_per_s) == pytest.approx(rate * GOODPUT_SHARE, rel=0.02), arrived_bit_per_s


def arriving():
    """What TCP brings across in each of six seconds, after four."""
    first = real_time()
    serve = ["ip", "netns", "exec", RIGHT, *first, "iperf3", "--server", "--one-off", "--json"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            time.sleep(0.5)
            # CUBIC's slow start ends early where delay varies, and BBR takes the shortest round trip for the usual one.
            streams = "--congestion cubic --parallel 4 --omit 4 --time 6"
            inside(LEFT, f"{' '.join(first)} iperf3 --client {RIGHT_ADDRESS} {streams}")
            report = json.loads(server.communicate(timeout=10)[0])
        finally:
            # One that is still ending would take the next test's client.
            server.kill()
    # iperf3 may also end without a figure, and says why in a line of its report.
    assert "error" not in report, report["error"]
    seconds = [each["sum"] for each in report["intervals"] if not each["sum"]["omitted"]]
    # Its last is what remains after six, a few milliseconds.
    return [each["bits_per_second"] for each in seconds if each["seconds"] > 0.5]


def real_time():
    """What goes before the ends of a measurement, as a wire goes: one that waits for the processor fills no link."""
    first = ("chrt", "--fifo", "1")
    return first if subprocess.run([*first, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0 else ()


@measured
def test_both_directions_are_set_apart(plan):
    put(WireSetting(delay_us=30_000), WireSetting())
    assert read_wire("wires-right", "wires-left").backward == WireSetting(delay_us=30_000)
    assert statistics.median(ping(80, 0.01)) == pytest.approx(30, abs=1)


@measured
def test_loss_and_duplicates_are_those_asked(plan):
    put(WireSetting(loss=0.2), WireSetting())
    assert 3000 - pings(3000).count("time=") == pytest.approx(600, rel=0.2)
    put(WireSetting(), WireSetting(duplicate=0.1))
    assert pings(3000).count("DUP!") == pytest.approx(300, rel=0.3)


def test_packets_in_flight_survive_a_change(plan):
    put(WireSetting(delay_us=20_000))
    delays_us = itertools.count(20_100, 100)

    def change():
        put(WireSetting(delay_us=next(delays_us)))
        time.sleep(0.05)

    # Until the neighbour is known the kernel keeps a few packets only.
    ping(8, 0.01)
    enter = {end: ("ip", "netns", "exec", end) for end in (LEFT, RIGHT)}
    assert arrived(20_000, RIGHT_ADDRESS, change, sender=enter[LEFT], receiver=enter[RIGHT]) == 20_000
    assert next(delays_us) > 22_000


def test_the_same_setting_is_not_sent_again(plan):
    put(WireSetting())
    assert put(WireSetting(delay_us=1_000)).changed
    again = put(WireSetting(delay_us=1_000))
    assert not again.changed
    assert again.after.overflow_packets == 0


def test_wishes_of_the_testbed_are_what_a_wire_takes(plan):
    testbed = load_testbed(REPOSITORY / "inventory/testbeds/couper_table3.yml")
    hosts = {name: _Entry(testbed, name) for name in testbed.host_names}
    base_rtt_us = {(link.a, link.b): 200.0 for link in testbed.links}
    wishes = wire_wishes(testbed, hosts, base_rtt_us=base_rtt_us)
    assert len(wishes) == len(testbed.links)
    for wire in wishes:
        put_published(wire)


class _Entry:
    def __init__(self, testbed, name) -> None:
        self.links = [_End(peer) for peer in testbed.host_names if peer != name]


class _End:
    def __init__(self, peer) -> None:
        self.peer, self.peer_address, self.interface, self.wire = peer, "10.0.0.1", None, "tap"


def test_no_such_wire_is_told(plan):
    with pytest.raises(SpecError, match='unknown host "nobody"'):
        read_wire("nobody", "wires-left")


def test_a_wire_that_has_gone_is_told_and_its_taps_go_with_it(tmp_path, monkeypatch, plan):
    lab_id = uuid.uuid4().hex
    (tmp_path / "t.yml").write_text(TESTBED.replace("wires-", "gone-"))
    gone = plan_lab(load_testbed(tmp_path / "t.yml"), WireKind.TAP)
    monkeypatch.setattr(paths, "WIRES_DIR", paths.LAB_DIR / "gone")
    namespaces = [host.namespace for host in gone.hosts]
    for namespace in namespaces:
        ip(f"netns add {namespace}")
    try:
        start_tap_wire(gone, gone.links[0], lab_id)
        assert "to-gone-right" in ip(f"-n {namespaces[0]} link")
        (pid,) = marked(lab_id)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while "to-gone-right" in ip(f"-n {namespaces[0]} link"):
            assert time.monotonic() < deadline
        with pytest.raises(ProvisionError, match="the wire does not answer"):
            read_wire("wires-left", "wires-right")
    finally:
        for namespace in namespaces:
            ip(f"netns delete {namespace}")


def test_a_wire_that_cannot_be_made_says_why(tmp_path, monkeypatch, plan):
    (tmp_path / "t.yml").write_text(TESTBED.replace("wires-", "none-"))
    none = plan_lab(load_testbed(tmp_path / "t.yml"), WireKind.TAP)
    monkeypatch.setattr(paths, "WIRES_DIR", paths.LAB_DIR / "none")
    with pytest.raises(ProvisionError, match=r"wire none-left-none-right: .*No such file.*sb-none-left"):
        start_tap_wire(none, none.links[0], uuid.uuid4().hex)


def test_netem_wires_are_not_set_here(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "LAB_DIR", tmp_path)
    monkeypatch.setattr(paths, "STATE_FILE", tmp_path / "state.json")
    netem = plan_lab(load_testbed(REPOSITORY / "inventory/testbeds/lab.yml"), WireKind.NETEM)
    write_state(LabState(uuid.uuid4().hex, Phase.UP, netem, tmp_path / "hosts.yml", ()))
    with pytest.raises(ConflictError, match="netem, set inside the hosts"):
        read_wire("client", "edge")
