"""One method on one problem: what it asks next, what it was told, what it decided."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import isgenerator
from typing import TYPE_CHECKING, Final

from slicebed.errors import SlicebedError, SpecError
from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import NoReturn

    from slicebed.split.search.contracts import Measure, Method, Problem

# A method that asks this often in a row for no candidate that it did not ask for before will never decide.
_NOTHING_NEW: Final = 100


class _AbandonedError(Exception):
    """Thrown into a method that does not end when it is told to."""


@dataclass(frozen=True)
class Decision:
    """How a session ended.

    Attributes:
        method: its name.
        choice: a candidate that was measured.
        asked: keys that were to be measured, each once, in the order in which they were first asked for.
        decision_s: seconds that the method itself took, the testbed's aside.
        measures: the last of each candidate that could be measured, by key.
        stopped_by_budget: whether the budget kept the method from anything that it asked for, so that by itself it
            would have measured more.
    """

    method: str
    choice: Choice
    asked: tuple[str, ...]
    decision_s: float
    measures: Mapping[str, Measure]
    stopped_by_budget: bool = False


class Session:
    """Drives a method: `ask` is what it wants measured next; `feed` hands it the measures.

    What it asks for a second time (the same candidate, frames and pairing) is answered from what was measured. Asks
    are cut down to the budget, in which each candidate counts once, and the choice says so; when nothing of an ask is
    left, the search ends with the best that was measured.
    """

    def __init__(self, name: str, method: Method, problem: Problem) -> None:
        """Start the method.

        Args:
            name: of the method, for errors and tables.
            method: as `registry.load` gives it.
            problem: keys of its candidates are unique.

        Raises:
            SpecError: the problem lacks what the method needs; the method fails, or its first ask is wrong.
        """
        self._name, self._problem = name, problem
        self._keys = frozenset(candidate.key for candidate in problem.candidates)
        if not problem.candidates or len(self._keys) < len(problem.candidates):
            twice = [key for key, count in Counter(c.key for c in problem.candidates).items() if count > 1]
            raise SpecError(f"candidates that occur twice: {', '.join(twice)}" if twice else "there are no candidates")
        self._asked: dict[str, None] = {}
        self._left_out: set[str] = set()
        self._known: dict[tuple[str, int, bool], Measure | None] = {}
        self._last: dict[str, Measure] = {}
        self._whole: Ask | None = None
        self._wanted: Ask | None = None
        self._choice: Choice | None = None
        self._idle = 0
        self._decision_s = 0.0
        begin = time.perf_counter()
        try:
            self._steps = method(problem)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises, sys.exit too
            self._failed(error)
        finally:
            self._decision_s += time.perf_counter() - begin
        if not isgenerator(self._steps):
            raise self._wrong(f"it returned {self._steps!r}, no generator", "yield an Ask at least once")
        self._go_on(None)

    @property
    def ask(self) -> Ask | None:
        """What is to be measured next, never what is known already; None: the method has decided."""
        return self._wanted

    def feed(self, measures: Iterable[Measure]) -> Ask | None:
        """Hand over the measures of the current ask, in any order; a candidate that could not be measured has none.

        Returns:
            The next ask; None when the method has decided.

        Raises:
            SpecError: the method fails or asks what it must not.
            RunError: it has ended, and nothing could be measured.
            ValueError: nothing was asked, or a measure is of a candidate that was not.
        """
        wanted, whole = self._wanted, self._whole
        if wanted is None or whole is None:
            raise ValueError(f"method {self._name} has decided and is told more")
        given = {measure.key: measure for measure in measures}
        if foreign := sorted(given.keys() - set(wanted.keys)):
            raise ValueError(f"method {self._name} is told of {', '.join(foreign)}, for which it did not ask")
        for key in wanted.keys:
            self._known[key, wanted.frames, wanted.paired] = given.get(key)
        self._last.update(given)
        self._go_on(self._answer(whole))
        return self._wanted

    @property
    def decision(self) -> Decision:
        """How it ended; ValueError while the method still asks."""
        if self._choice is None:
            raise ValueError(f"method {self._name} has not decided yet")
        return Decision(
            self._name, self._choice, tuple(self._asked), self._decision_s, dict(self._last), bool(self._left_out)
        )

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The last measure of each candidate so far."""
        return dict(self._last)

    def _go_on(self, answer: Sequence[Measure] | None) -> None:
        """Run the method until it asks for something that must be measured, or decides."""
        while True:
            ask = self._step(answer)
            if ask is None:
                self._wanted = self._whole = None
                return
            allowed = self._within_budget(ask)
            self._left_out.update(set(ask.keys).difference(allowed))
            new = tuple(key for key in allowed if (key, ask.frames, ask.paired) not in self._known)
            self._whole = Ask(allowed, ask.frames, ask.paired)
            self._count(allowed)
            if new:
                self._asked.update(dict.fromkeys(new))
                self._wanted = Ask(new, ask.frames, ask.paired)
                return
            if not allowed:
                self._end(Choice(best_of(self._last.values(), self._problem.objective).key, self._spent()))
                return
            answer = self._answer(self._whole)

    def _count(self, keys: Sequence[str]) -> None:
        """Refuse to be asked without end: for no other candidates, be it on other frames each time."""
        self._idle = self._idle + 1 if keys and self._asked.keys() >= set(keys) else 0
        if self._idle == _NOTHING_NEW:
            self._refuse(f"it asked {self._idle} times in a row for no other candidates", "return a Choice")

    def _step(self, answer: Sequence[Measure] | None) -> Ask | None:
        """The next ask of the method, checked; None when it has decided."""
        begin = time.perf_counter()
        try:
            ask = next(self._steps) if answer is None else self._steps.send(answer)
        except StopIteration as end:
            self._check(end.value)
            self._choice = self._with_budget(end.value)
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises, sys.exit too
            self._failed(error)
        finally:
            self._decision_s += time.perf_counter() - begin
        if not isinstance(ask, Ask) or not isinstance(ask.keys, (tuple, list)) or not ask.keys:
            self._refuse(f"it yielded {ask!r}", "yield an Ask with a tuple of one key or more")
        if not _is_count(ask.frames):
            self._refuse(f"it asked for {ask.frames!r} frames", "ask for a whole number from 0")
        if not isinstance(ask.paired, bool):
            self._refuse(f"it asked for paired={ask.paired!r}", "say True or False")
        if unknown := [key for key in ask.keys if not (isinstance(key, str) and key in self._keys)]:
            self._refuse(
                f"it asked for {unknown[0]!r}, which is no candidate", "ask for keys of the problem's candidates"
            )
        return ask

    def _within_budget(self, ask: Ask) -> tuple[str, ...]:
        room = len(self._keys) if self._problem.budget is None else self._problem.budget
        counted = set(self._asked)
        allowed = []
        for key in dict.fromkeys(ask.keys):
            if key in counted or len(counted) < room:
                counted.add(key)
                allowed.append(key)
        return tuple(allowed)

    def _answer(self, ask: Ask) -> list[Measure]:
        """In the order of the ask, so that a method cannot depend on which run ended first."""
        found = (self._known[key, ask.frames, ask.paired] for key in ask.keys)
        return [measure for measure in found if measure is not None]

    def _check(self, choice: object) -> None:
        if not isinstance(choice, Choice):
            self._refuse(f"it returned {choice!r}", "return a Choice")
        if not isinstance(choice.key, str) or choice.key not in self._last:
            self._refuse(f"it chose {choice.key!r}, which was not measured", "choose what you have been told of")
        if not (isinstance(choice.why, str) and choice.why.isprintable()):
            self._refuse(f"it chose because of {choice.why!r}", "say why in one line of printable text")
        for name, number in (("regret", choice.regret), ("error", choice.error)):
            if number is not None and not isinstance(number, (int, float)):
                self._refuse(f"its choice has the {name} {number!r}", "give a number, or None")

    def _end(self, choice: Choice) -> None:
        if (error := self._close()) is not None:
            self._failed(error)
        self._choice, self._wanted, self._whole = choice, None, None

    def _close(self) -> BaseException | None:
        """End the method wherever it is; what it raised instead of ending."""
        try:
            self._steps.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
            # One that yielded again instead is thrown out by another exception than the one that it heeded so.
            with suppress(BaseException):
                self._steps.throw(_AbandonedError)
            return error
        return None

    def _spent(self) -> str:
        return f"the best of {len(self._last)} measured when the budget of {self._problem.budget} was used up"

    def _with_budget(self, choice: Choice) -> Choice:
        """A method does not know that an ask of its was cut down, and speaks of all that it was told of."""
        if not self._left_out:
            return choice
        left_out = f"the budget of {self._problem.budget} left out {len(self._left_out)} more that it asked for"
        return replace(choice, why=f"{choice.why}; {left_out}")

    def _failed(self, error: BaseException) -> NoReturn:
        if isinstance(error, SlicebedError):
            error.where = error.where or f"method {self._name}"
            raise error
        raise self._wrong(f"it failed: {type(error).__name__}: {error}", "mend the method") from error

    def _refuse(self, what: str, mend: str) -> NoReturn:
        self._close()
        raise self._wrong(what, mend)

    def _wrong(self, what: str, mend: str) -> SpecError:
        return SpecError(what, where=f"method {self._name}", mend=mend)


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def drive(name: str, method: Method, problem: Problem, measure: Callable[[Ask], Iterable[Measure]]) -> Decision:
    """Run a method to its end; raises as `Session` does, and whatever `measure` raises."""
    session = Session(name, method, problem)
    while session.ask is not None:
        session.feed(measure(session.ask))
    return session.decision
