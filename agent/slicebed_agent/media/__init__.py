"""What the camera shows, and what turns pictures into a model's input; imports nothing heavy before it is needed."""
