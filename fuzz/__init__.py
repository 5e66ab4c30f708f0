"""Hostile bytes for everything that is parsed: one small target a parser."""
