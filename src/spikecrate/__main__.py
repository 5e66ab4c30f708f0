"""`python -m spikecrate` is the console program."""

from spikecrate.cli.main import main

main()
