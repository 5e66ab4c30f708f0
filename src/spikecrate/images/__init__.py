"""Images: what they are made from, and their making."""
