"""Published benchmarks as their authors ship them: which files there are, and what their columns mean."""
