"""Fitting bodies to 2D keypoints (SMPLify-X), and one body model's parameters to another's."""
