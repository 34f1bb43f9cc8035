"""Fitting: bodies laid on the 2D keypoints of people in photos (the paper's SMPLify-X), and what comes with it."""
