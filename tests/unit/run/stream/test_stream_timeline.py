"""A stream's timeline is in order, on disk before anything else happens, and readable."""

from __future__ import annotations

import threading

from slicebed.run.stream.timeline import Timeline


def test_events_are_kept_in_order_and_told_to_who_listens():
    seconds = iter([100.0, 101.5, 103.0, 104.0])
    kept, heard = [], []
    timeline = Timeline(kept.append, lambda: next(seconds))
    timeline.note("stream begins", cut="1-8")
    timeline.hear(heard.append)
    timeline.note("cut prepared", host="edge", prepare_s=0.25)
    timeline.hear(None)
    timeline.note("stopped", by="Ctrl-C")
    assert [event.to_plain() for event in kept] == timeline.to_plain()
    assert timeline.to_plain()[1] == {"at_s": 3.0, "event": "cut prepared", "host": "edge", "prepare_s": 0.25}
    assert [event.name for event in heard] == ["cut prepared"]


def test_a_line_says_when_what_and_what_of():
    timeline = Timeline(lambda _: None, iter([0.0, 12.34]).__next__)
    event = timeline.note("adapt: switch", cut="b", predicted_ms={"a": 250.0, "b": 12.3456}, reason="")
    assert str(event) == "    12.3 s  adapt: switch: cut b, predicted_ms a=250 b=12.3"


def test_threads_do_not_mix_it_up():
    kept = []
    timeline = Timeline(kept.append)
    threads = [threading.Thread(target=lambda: [timeline.note("event", n=n) for n in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == list(timeline.events())
    assert len(kept) == 800
    assert [event.at_s for event in kept] == sorted(event.at_s for event in kept)
