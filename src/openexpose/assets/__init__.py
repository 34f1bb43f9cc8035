"""Authoring of what ships: the bake of the free body, the import of the perception networks."""
