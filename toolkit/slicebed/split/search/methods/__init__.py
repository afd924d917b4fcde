"""The methods that come with Slicebed, one to a file; registered in pyproject.toml."""
