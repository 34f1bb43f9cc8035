"""Whole-body human mesh recovery: one photo in; body, hands and facial expression out, as SMPL-X parameters and a mesh."""

__version__ = "0.1.0"
