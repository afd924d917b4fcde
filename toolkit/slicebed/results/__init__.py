"""What finished runs say: samples, tables and plots, beside the published figures."""
