"""What `spikecrate doctor` looks at: a module a noun, a look and a judgment a line."""
