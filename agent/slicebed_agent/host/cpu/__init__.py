"""Clock and cores of the machine, as the kernel's own files under /sys/devices/system/cpu give and take them."""

from slicebed_agent.host.cpu.part import Cpu

__all__ = ["Cpu"]
