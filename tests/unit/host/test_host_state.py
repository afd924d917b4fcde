"""The record on disk, when somebody edited it: named, with the way out."""

from __future__ import annotations

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.state import GIVE_UP, State
from slicebed_agent.host.verbs import restore_from

READERS = {
    "original.json": lambda state: state.original(),
    "wish.json": lambda state: state.wish(),
    "base_rtt.json": lambda state: state.base_rtt_us(),
    "loan.json": lambda state: state.loan(),
}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("original.json", "{", "cannot be read"),
        ("original.json", "[" * 100_000, "cannot be read"),
        ("original.json", "[1]", "is no mapping"),
        ("original.json", '{"version": 1}', "parts is no mapping"),
        ("original.json", '{"version": 1, "parts": [1]}', "parts is no mapping"),
        ("original.json", '{"version": 1, "parts": {"network": [1, 2]}}', "parts.network is no mapping"),
        ("original.json", '{"version": 9, "parts": {}}', "is of another version"),
        ("wish.json", '{"version": 1, "wish": "edge"}', "wish is no mapping"),
        ("base_rtt.json", '{"version": 1, "rtt_us": {"far": "1 ms"}}', "rtt_us.far is no number"),
        ("base_rtt.json", '{"version": 1, "rtt_us": null}', "rtt_us is no mapping"),
        ("loan.json", '{"version": 1, "loan": {"by": "x"}}', "loan lacks by or before"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it_and_the_way_out(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(HostError) as caught:
        READERS[name](State(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / name}: {said}")
    assert str(caught.value).endswith(GIVE_UP)


def test_a_record_that_nobody_has_written_is_empty(tmp_path):
    assert [read(State(tmp_path)) for read in READERS.values()] == [{}, {}, {}, {}]


def test_the_timer_says_so_too_when_the_original_is_damaged(tmp_path):
    (tmp_path / "original.json").write_text('{"version": 1, "parts": {"network": [1, 2]}}')
    with pytest.raises(HostError, match=r"original\.json: parts\.network is no mapping"):
        restore_from(tmp_path)
