"""The machine that work runs on: its GPU, its memory, its threads, and the processes that share one run."""
