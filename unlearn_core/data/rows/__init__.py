"""From the bytes of a file nobody vouches for to checked rows, and from rows to records."""
