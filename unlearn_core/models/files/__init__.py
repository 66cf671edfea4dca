"""Models as files: fetched, checked before anything in them is loaded, read, and written whole."""
