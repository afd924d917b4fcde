"""Hold what the hosts and links deliver against what was asked: plan the measurements, run them, judge, show, keep."""
