"""Jobs: describe one, decide between cache hit, wait and run, run it, and record it."""
