"""Requests from the control machine, read strictly: every key, type and range is checked before anything is opened."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure.packet import TOKEN_BYTES
from slicebed_agent.host.measure.sockets import Target

MAX_LIFETIME_S = 3600


class Request:
    """One request's fields, taken by name; `done` refuses what nobody took."""

    def __init__(self, verb: str, plain: object) -> None:
        """Raise HostError when it is not a mapping."""
        self._verb = verb
        if not isinstance(plain, dict):
            raise HostError(f"{type(plain).__name__} is not allowed", where=verb, mend="allowed: a mapping")
        self._left: dict[Any, Any] = dict(plain)

    def address(self, name: str) -> str:
        """An IP address, IPv6 link-local ones with their zone."""
        value = self._take(name)
        try:
            return str(ip_address(value if isinstance(value, str) else ""))
        except ValueError as error:
            raise self._refused(name, value, "an IP address") from error

    def token(self) -> bytes:
        """The session's token."""
        value = self._take("token")
        try:
            token = bytes.fromhex(value) if isinstance(value, str) else b""
        except ValueError:
            token = b""
        if len(token) != TOKEN_BYTES:
            raise self._refused("token", "it", f"{2 * TOKEN_BYTES} hexadecimal digits")
        return token

    def target(self) -> Target:
        """The way to a responder or sink."""
        source, destination = self.address("source"), self.address("destination")
        return Target(source, destination, self.whole("port", 1, 65_535), self.token())

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(name, value, f"a whole number, {low} to {high}")
        return value

    def seconds(self, name: str, high: float) -> float:
        """A time above zero."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
            raise self._refused(name, value, f"seconds, above 0 to {high:g}")
        return float(value)

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self._take(name)
        if value not in allowed:
            raise self._refused(name, value, ", ".join(allowed))
        return str(value)

    def some_of(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """A list of at least one of a few words."""
        values = self._take(name)
        if not isinstance(values, list) or not values or any(value not in allowed for value in values):
            raise self._refused(name, values, f"a list of some of {', '.join(allowed)}")
        return tuple(values)

    def done(self) -> None:
        """Raise HostError when a key is left that this request does not have."""
        for name in self._left:
            raise self._refused(str(name), "unknown key", "none of this name")

    def _take(self, name: str) -> object:
        if name not in self._left:
            raise self._refused(name, "nothing", "it must be given")
        return self._left.pop(name)

    def _refused(self, name: str, value: object, allowed: str) -> HostError:
        return HostError(f"{str(value)[:60]} is not allowed", where=f"{self._verb}.{name}", mend=f"allowed: {allowed}")
