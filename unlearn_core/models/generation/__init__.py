"""Writing text token by token: batches, caches, recorded steps, and beginnings that prompts share."""
