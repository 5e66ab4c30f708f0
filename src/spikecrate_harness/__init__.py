"""What is inside every image: opens the recording, runs the sorter, writes the result.

Needs numpy and nothing else. The one MDA codec lives here; the library imports it from here.
"""
