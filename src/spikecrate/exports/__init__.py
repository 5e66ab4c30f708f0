"""Exports: the folder that the user gets, and the facts of a session in an NWB file."""
