"""What gives a model away though it says nothing: how likely texts are, its hidden states, others beside it."""
