"""Small things that every room uses: processes, files, canonical JSON, quantities, progress."""
