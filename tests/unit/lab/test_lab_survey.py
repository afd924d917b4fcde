"""What the kernel says of a netem wire; as ``tc`` prints it."""

from __future__ import annotations

from slicebed.lab.survey import DirectionStatus, shaped_by_host


def test_no_netem_means_nothing_is_set():
    assert (
        shaped_by_host([{"kind": "noqueue", "handle": "0:", "root": True, "refcnt": 2, "options": {}}], "")
        == DirectionStatus()
    )


def test_delay_and_jitter_are_seconds_and_a_class_has_the_rate():
    qdiscs = [
        {"kind": "htb", "handle": "1:", "root": True, "options": {"r2q": 10, "default": "0x1"}},
        {
            "kind": "netem",
            "handle": "10:",
            "parent": "1:1",
            "options": {"limit": 1000, "delay": {"delay": 0.0212, "jitter": 0.0058, "correlation": 0}, "ecn": False},
        },
    ]
    classes = "class htb 1:1 root leaf 10: prio 0 rate 8bit ceil 50Mbit burst 1600b cburst 1600b \n"
    assert shaped_by_host(qdiscs, classes) == DirectionStatus(21_200, 5_800, 0.0, 50_000_000)


def test_a_class_without_a_limit_is_no_rate():
    classes = "class htb 5b1d:1 root rate 1000Gbit ceil 1000Gbit burst 0b cburst 0b \n"
    assert shaped_by_host([], classes) == DirectionStatus()
