"""``python -m ltbench``."""

from ltbench.cli import main

main()
