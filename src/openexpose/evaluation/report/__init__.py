"""Results as text, JSON, a page with plots and pictures; and the comparison of two runs."""
