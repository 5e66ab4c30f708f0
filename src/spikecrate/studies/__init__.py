"""Recordings × sorters × parameters, run and compared."""
