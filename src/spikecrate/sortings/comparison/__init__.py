"""Comparison of sortings, with ground truth and with each other; the tool `compare` runs these modules."""
