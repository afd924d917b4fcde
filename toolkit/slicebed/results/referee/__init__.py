"""The referee's report of a search: what every cut costs, what every method chose, and after how many runs."""
