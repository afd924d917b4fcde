"""Conditions of a host's links: compiled to one tree per device, compared with the kernel's, changed in place."""
