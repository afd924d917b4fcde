"""Runs an experiment: drives the agents, keeps what they measured, journals every step."""

import os

# ansible-runner forks while channels to the agents are open. gRPC's own fork handlers would revive its threads in the
# child, where their file descriptors are closed; the child becomes ansible-playbook at once and needs none of them.
# Read when gRPC starts, so it must be set before any module here imports it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
