"""Runs as rows of a table: the index they are looked up in, comparisons, and how long runs of a kind take."""
