"""From the words of a command line to the library's arguments."""
