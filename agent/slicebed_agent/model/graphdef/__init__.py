"""A frozen TensorFlow GraphDef as a graph of operators, read from its file without TensorFlow."""
