"""Find the container engines of this machine, or raise an error that names the obstacle."""
