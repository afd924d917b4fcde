"""Limits of the workload: the control group that its containers are put below."""

from slicebed_agent.host.workload.part import Workload, group_name

__all__ = ["Workload", "group_name"]
