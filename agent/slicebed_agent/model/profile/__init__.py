"""How long the parts of a model take on this host, and what memory they need: figures for a predictor."""
