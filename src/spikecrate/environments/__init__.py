"""Locked virtual environments, in which the host runtime runs a tool."""
