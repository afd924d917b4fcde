"""Search over runs: spaces, cells, crews and what becomes of them."""
