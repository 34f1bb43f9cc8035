"""Pictures out: a software renderer for meshes over photos."""
