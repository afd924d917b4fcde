"""Runs what lies between two cuts of a frozen graph, writes it to a folder of its own, checks it against the whole."""
