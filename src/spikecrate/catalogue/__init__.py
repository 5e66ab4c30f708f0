"""The catalogue of tools: find one, check its parameters, start a new sorter, update its locks."""
