"""How a boundary may be written for a link: a word that experiments, runs and samples share."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Codec(enum.StrEnum):
    """The proto says what each means."""

    TENSOR_PROTO = "tensorproto"
    RAW = "raw"
    LOSSLESS = "lossless"
    FP16 = "fp16"
    UINT8 = "uint8"
    AUTO = "auto"

    @property
    def is_lossy(self) -> bool:
        """Whether answers may differ from the whole model's."""
        return self in {Codec.FP16, Codec.UINT8}


SHRUNK: Final[Mapping[Codec, Mapping[str, float]]] = MappingProxyType(
    {
        Codec.FP16: MappingProxyType({"float32": 1 / 2, "float64": 1 / 4}),
        Codec.UINT8: MappingProxyType({"float16": 1 / 2, "bfloat16": 1 / 2, "float32": 1 / 4, "float64": 1 / 8}),
    }
)
"""What is left of a tensor's bytes by lossy codec and data type; tensors of all other types pass as they are."""
