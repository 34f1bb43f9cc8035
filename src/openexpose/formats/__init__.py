"""Files out and in: the project's own formats and those of other tools."""
