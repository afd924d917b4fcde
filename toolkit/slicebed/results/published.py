"""The figures that the DNN-slicing paper published, for the configurations that are the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "dnn_slicing"

PAPER_MODEL = "cnn14"
PAPER_FRAMES = 50
# Tables 3, 4 and 5, and figures 4, 5 and 6, show configurations 1, 2 and 3.
PAPER_TABLE = {"1": 3, "2": 4, "3": 5}
PAPER_FIGURE = {"1": 4, "2": 5, "3": 6}


@dataclass(frozen=True)
class Published:
    """What the paper reports of one cut under one configuration: seconds for 50 frames, and dropped over captured."""

    time_s: float
    drop_rate: float


def published_figures(spec: Mapping[str, Any], configuration: str, reference: Path = REFERENCE) -> dict[str, Published]:
    """The published figures by cut label; empty unless model and conditions are those of the paper's Table 2.

    A configuration that only shares its name with one of the paper's has nothing to be compared with.

    Args:
        spec: the resolved experiment from a run's manifest (``Experiment.to_plain()``).
        configuration: name of the configuration.
        reference: folder of the transcribed tables.
    """
    if not is_published(spec, configuration, reference):
        return {}
    rows = pd.read_csv(reference / "table3_4_5_results.csv", dtype={"configuration": str, "split_layers": str})
    rows = rows[rows["configuration"] == configuration]
    return {
        str(row["split_layers"]): Published(float(row["time_s"]), float(row["frame_drop_rate"]))
        for row in rows.to_dict("records")
    }


def is_published(spec: Mapping[str, Any], configuration: str, reference: Path = REFERENCE) -> bool:
    """Whether this is a configuration of the DNN-slicing experiment: its model as trained, under its conditions.

    Args:
        spec: as of `published_figures`; a campaign of before models had settings has none.
        configuration: name of the configuration.
        reference: folder of the transcribed tables.
    """
    is_model = spec.get("model") == PAPER_MODEL and not spec.get("model_settings")
    return configuration in PAPER_TABLE and is_model and _is_table_2(spec, configuration, reference)


def _is_table_2(spec: Mapping[str, Any], configuration: str, reference: Path) -> bool:
    asked = next((each for each in spec.get("configurations", ()) if str(each["name"]) == configuration), None)
    table = reference / "table2_configurations.csv"
    if asked is None or not table.is_file():
        return False
    rows = pd.read_csv(table, dtype={"configuration": str})
    rows = rows[rows["configuration"] == configuration]
    wanted = [
        (float(row["overhead_ratio"]), round(1000 * row["latency_ms"]), int(row["max_throughput_bytes"]))
        for row in rows.to_dict("records")
    ]
    found = [
        (float(host["overhead_ratio"]), int(host["latency_us"]), int(host["max_message_bytes"]))
        for host in asked["hosts"].values()
    ]
    return bool(wanted) and found == wanted
