"""The held channel's far end: every line is answered, and a change outlives the session that asked for it."""

from __future__ import annotations

import io
import json
import threading

from slicebed_agent.errors import HostError
from slicebed_agent.host.service import Service


class Answers(io.BytesIO):
    """Where the service writes; it can be broken as a closed session is."""

    broken = False

    def write(self, data):
        if self.broken:
            raise BrokenPipeError
        return super().write(data)


def served(handlers, *lines, answers=None):
    answers = answers or Answers()
    Service(handlers, answers).serve(io.BytesIO(b"".join(line + b"\n" for line in lines)))
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "_handle" in thread.name:
            thread.join(10)
    return {row["id"]: row for row in map(json.loads, answers.getvalue().splitlines())}


def refuse(request):
    raise HostError("no such thing", where=request["what"], mend="ask for another")


def test_requests_are_answered_by_their_number():
    found = served(
        {"double": lambda request: {"twice": 2 * request["n"]}}, b'{"id": 1, "verb": "double", "request": {"n": 4}}'
    )
    assert found == {1: {"id": 1, "result": {"twice": 8}}}


def test_a_refusal_keeps_its_three_parts():
    found = served({"refuse": refuse}, b'{"id": 2, "verb": "refuse", "request": {"what": "eth0"}}')
    assert found[2]["error"] == {"what": "no such thing", "where": "eth0", "mend": "ask for another"}


def test_what_is_no_request_is_said_and_the_next_one_is_answered():
    found = served(
        {"ping": lambda _: {}}, b"nonsense", b"[1]", b'{"id": 3, "verb": "pong"}', b'{"id": 4, "verb": "ping"}'
    )
    assert "not a request" in found[None]["error"]["what"]
    assert found[3]["error"]["what"] == "unknown verb 'pong'"
    assert found[4]["result"] == {}


def test_a_change_ends_although_nobody_listens_any_more():
    answers, may_end, ended = Answers(), threading.Event(), []

    def apply(_):
        may_end.wait(10)
        ended.append(threading.current_thread().daemon)
        return {}

    Service({"apply": apply}, answers).serve(io.BytesIO(b'{"id": 1, "verb": "apply"}\n'))
    answers.broken = True
    may_end.set()
    for thread in threading.enumerate():
        if "_handle" in thread.name:
            thread.join(10)
    # Not a daemon: the process waits for it before it ends.
    assert ended == [False]
