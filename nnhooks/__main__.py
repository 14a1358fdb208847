"""`python -m nnhooks` is the command `nnhooks`."""

from nnhooks.cli import main

main()
