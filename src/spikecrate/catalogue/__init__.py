"""The catalogue of sorters: find one, check its parameters, start a new one, update its locks."""
