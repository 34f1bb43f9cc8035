"""Labelled pictures: one record for every data set, its readers, and the augmentations of training."""
