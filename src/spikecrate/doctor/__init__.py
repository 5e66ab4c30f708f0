"""The checks of `spikecrate doctor`: one module per subject; a check is one look at the machine and one judgment."""
