"""Ways of running what lies between two cuts, measured side by side: the figures of ADR 10."""
