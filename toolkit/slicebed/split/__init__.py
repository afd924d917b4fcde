"""Where a model may be cut: its split points as the control machine names and lists them."""
