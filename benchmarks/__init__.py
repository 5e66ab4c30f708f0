"""Side-by-side measurements against floors and peers, in one run: `nox -s bench`."""
