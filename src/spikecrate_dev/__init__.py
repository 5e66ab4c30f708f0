"""The development container: one description, read by VS Code, the devcontainer CLI and `invoke dev`."""
