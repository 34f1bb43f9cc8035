"""Whole-body human mesh recovery: a photo in; body, hands and expression out, as SMPL-X parameters and a mesh."""

__version__ = "0.1.0"
