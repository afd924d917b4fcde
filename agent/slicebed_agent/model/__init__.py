"""The model, its slices, and the codec of their tensors: TensorFlow lives here only, imported on first use."""
