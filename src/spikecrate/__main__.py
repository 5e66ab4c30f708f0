"""`python -m spikecrate` is the console program."""

from spikecrate.cli import main

main()
