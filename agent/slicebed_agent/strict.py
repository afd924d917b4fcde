"""Control's messages read before its methods are called: one that is none is refused in a line, not in gRPC's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from slicebed_agent.errors import PayloadError
from slicebed_agent.rpc.v1 import agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.control import Control


def add_control(control: Control, server: grpc.Server) -> None:
    """Serve Control; bytes that are no message of a method end the call with INVALID_ARGUMENT."""
    agent_pb2_grpc.add_ControlServicer_to_server(control, _Strict(server))


class _Strict:
    """A server as the generated code sees it: what it adds is served with our own reading of requests."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: the same methods come again, by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serve these methods."""
        strict = {name: _strict(name, handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, strict)


def _strict(name: str, handler: Any) -> Any:
    def read(data: bytes) -> Any:
        try:
            return handler.request_deserializer(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise PayloadError(
                "these bytes are no message of this call", where=name, mend="use agents and slicebed of one version"
            ) from error

    if handler.request_streaming:
        # Control answers to a PayloadError wherever it reads the stream.
        return grpc.stream_unary_rpc_method_handler(
            lambda stream, context: handler.stream_unary(map(read, stream), context),
            response_serializer=handler.response_serializer,
        )

    def call(data: bytes, context: grpc.ServicerContext) -> Any:
        try:
            request = read(data)
        except PayloadError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return handler.unary_unary(request, context)

    return grpc.unary_unary_rpc_method_handler(call, response_serializer=handler.response_serializer)
