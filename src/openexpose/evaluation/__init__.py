"""How good predictions are: metrics, protocols and tables."""
