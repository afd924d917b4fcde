"""Finding the best cut from candidates and measures alone: contracts, objectives, methods."""
