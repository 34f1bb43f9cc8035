"""Synthetic data: seeded people (pose, shape, expression, clothes, light, camera) rendered to labelled crops."""
