"""``python -m ltbench``."""

from ltbench.cli import main

if __name__ == "__main__":
    main()
