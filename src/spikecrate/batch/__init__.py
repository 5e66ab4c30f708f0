"""Engines that run the jobs of a batch; the embedded one is this machine."""
