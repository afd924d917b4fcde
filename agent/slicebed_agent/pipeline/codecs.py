"""How a boundary may be written for a link: a word that experiments, runs and samples share."""

from __future__ import annotations

import enum


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
