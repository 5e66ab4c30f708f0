"""The container engines of this machine: found, or the reason why not."""
