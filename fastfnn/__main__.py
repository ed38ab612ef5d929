"""`python -m fastfnn` is the command `fastfnn`."""

import sys

from fastfnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
