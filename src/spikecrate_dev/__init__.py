"""The development container: one description for VS Code, the devcontainer CLI and `invoke dev`.

Only a clone has this package; the wheel leaves it out.
"""
