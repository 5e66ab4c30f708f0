"""Work on the catalogue: a new sorter's folder, its locks made anew, its description for other tools."""
