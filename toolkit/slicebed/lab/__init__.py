"""The embedded testbed: namespace hosts with sshd on this machine, joined by wires whose delay can be set."""

from slicebed.lab.build import UpResult, down, up
from slicebed.lab.inventory import find_root
from slicebed.lab.layout import WireKind
from slicebed.lab.survey import Health, LabStatus, status
from slicebed.lab.sweep import Removed
from slicebed.lab.wires import WireChange, WireReading, WireSetting, read_wire, set_wire, wire_setting

__all__ = [
    "Health",
    "LabStatus",
    "Removed",
    "UpResult",
    "WireChange",
    "WireKind",
    "WireReading",
    "WireSetting",
    "down",
    "find_root",
    "read_wire",
    "set_wire",
    "status",
    "up",
    "wire_setting",
]
