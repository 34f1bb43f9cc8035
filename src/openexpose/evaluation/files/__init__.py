"""Predictions of any system, read from files."""
