"""The referee's report of a search: what every cut costs, what every method chose, and after how many runs."""

from slicebed.results.referee.report import write_report

__all__ = ["write_report"]
