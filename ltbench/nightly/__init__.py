"""A night: every method trained, every quick benchmark measured, and both compared with a committed baseline."""
