"""Training: evidence of frozen trunks on rendered crops, regressors on that evidence, export to a bundle."""
