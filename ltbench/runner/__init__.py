"""Training the cells of a plan: one cell, several threads, several workers."""
