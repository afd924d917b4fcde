"""The streaming pipeline against its bars: real agents, real links, side by side with the alternatives."""
