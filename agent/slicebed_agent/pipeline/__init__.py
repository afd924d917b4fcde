"""Frames on their way through one agent: camera, queues, worker, link; knows no TensorFlow."""
