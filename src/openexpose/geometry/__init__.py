"""Rotations, cameras, boxes and alignments: pure numpy functions that own every convention (docs/conventions.md)."""
