"""Foretelling what a cut gives, from profiles and links: times, queues, transfers, and what measures correct."""
