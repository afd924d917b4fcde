"""How many runs a search needs, and how far what it finds is from the best there is."""
