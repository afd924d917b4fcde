"""What the kernel says of a netem wire; the rows are what ``tc -json`` prints."""

from __future__ import annotations

from slicebed.lab.survey import DirectionStatus, shaped_by_host


def test_no_netem_means_nothing_is_set():
    assert (
        shaped_by_host([{"kind": "noqueue", "handle": "0:", "root": True, "refcnt": 2, "options": {}}], [])
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
    classes = [
        {"class": "htb", "handle": "1:1", "root": True, "leaf": "10:", "prio": 0, "rate": 6_250_000, "ceil": 6_250_000}
    ]
    assert shaped_by_host(qdiscs, classes) == DirectionStatus(21_200, 5_800, 0.0, 50_000_000)


def test_a_class_without_a_limit_is_no_rate():
    classes = [{"class": "htb", "handle": "1:1", "root": True, "rate": 50_000_000_000, "ceil": 50_000_000_000}]
    assert shaped_by_host([], classes) == DirectionStatus()
