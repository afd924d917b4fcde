"""A pipeline that keeps running: watched, mended, and cut elsewhere while frames pass."""
