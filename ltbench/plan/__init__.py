"""The plan: suite, recipe, and the cells that a suite expands to. Trains nothing."""
