"""Jobs: describe one, decide (cache hit, wait, run), act, and record."""
