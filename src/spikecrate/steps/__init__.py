"""Jobs: decide (hit, run, wait), then act."""
