"""A running stream is asked over a real socket; whoever asks wrongly, or nobody, gets one line."""

from __future__ import annotations

import json
import socket
import stat
import threading

import pytest

from slicebed.errors import ConflictError, MissingRequirementError, RunError, SpecError
from slicebed.run.stream.desk import Ask, Desk, Request, ask, socket_path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s" / "stream.sock"


def answer(request, tell):
    if request.ask is Ask.SET_CUT:
        if request.cut == "bad":
            raise SpecError("no split point is named 'bad'", where="--set-cut", mend="the nearest are body")
        tell({"event": "cut asked", "cut": request.cut})
        tell({"event": "cut switched"})
    return {"asked": request.ask.value}


def raw(path, data):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        return json.loads(line.makefile().read())


def test_events_come_before_the_last_line(path):
    heard = []
    with Desk(path, answer):
        last = ask(path, Request(Ask.SET_CUT, "a,b"), heard.append)
    assert heard == [{"event": "cut asked", "cut": "a,b"}, {"event": "cut switched"}]
    assert last == {"done": True, "asked": "set-cut"}


def test_an_error_arrives_as_what_it_is(path):
    with Desk(path, answer), pytest.raises(SpecError) as refused:
        ask(path, Request(Ask.SET_CUT, "bad"), lambda _: None)
    assert str(refused.value) == "--set-cut: no split point is named 'bad'; the nearest are body"


def test_the_socket_is_the_users_alone(path):
    with Desk(path, answer):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


@pytest.mark.parametrize("data", [b"hello\n", b"[]\n", b'{"ask": "dance"}\n', b'{"cut": "a"}\n', b"", b"\xff\n"])
def test_what_is_no_request_is_told_so_and_the_next_is_answered(path, data):
    with Desk(path, answer):
        assert raw(path, data)["error"]["what"] == "not a request"
        assert ask(path, Request(Ask.STATUS), lambda _: None)["asked"] == "status"


def test_without_a_stream_there_is_a_clear_error(path):
    with pytest.raises(MissingRequirementError, match="no stream runs on the hosts of this inventory"):
        ask(path, Request(Ask.STATUS), lambda _: None)


def test_what_a_killed_stream_left_is_no_stream_and_is_replaced(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(MissingRequirementError):
        ask(path, Request(Ask.STOP), lambda _: None)
    with Desk(path, answer):
        assert ask(path, Request(Ask.STOP), lambda _: None)["asked"] == "stop"


def test_there_is_one_stream_only(path):
    with Desk(path, answer):
        with pytest.raises(ConflictError, match="runs already"), Desk(path, answer):
            pass
        assert ask(path, Request(Ask.STATUS), lambda _: None)["done"]


def test_who_goes_away_stops_nothing(path):
    went, ended = threading.Event(), threading.Event()

    def slow(request, tell):
        went.wait(10)
        tell({"event": "late"})
        tell({"event": "later"})
        ended.set()
        return {}

    with Desk(path, slow):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
            line.sendall(b'{"ask": "status"}\n')
        went.set()
        assert ended.wait(10)


def test_a_stream_that_dies_while_asked_is_told(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def die():
            line, _ = listener.accept()
            line.recv(100)
            line.close()

        thread = threading.Thread(target=die)
        thread.start()
        with pytest.raises(RunError, match="ended before it answered"):
            ask(path, Request(Ask.STATUS), lambda _: None)
        thread.join()


def test_a_path_too_long_for_a_socket_is_told(tmp_path):
    long = tmp_path / ("x" * 120) / "stream.sock"
    with pytest.raises(MissingRequirementError, match="XDG_RUNTIME_DIR"), Desk(long, answer):
        pass


def test_every_inventory_has_a_socket_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    one, other = socket_path(tmp_path / "a.yml"), socket_path(tmp_path / "b.yml")
    assert one != other
    assert one.parent == tmp_path / "slicebed"
    monkeypatch.chdir(tmp_path)
    assert socket_path(tmp_path.__class__("a.yml")) == one
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert socket_path(tmp_path / "a.yml").parent == tmp_path / "home" / ".local" / "state" / "slicebed"
