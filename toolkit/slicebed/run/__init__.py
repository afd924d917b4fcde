"""Runs an experiment: drives the agents, keeps what they measured, journals every step."""
