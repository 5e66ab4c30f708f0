"""Bundles: a tool in one file, for a machine without a network."""
