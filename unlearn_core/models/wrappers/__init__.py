"""What is put before a model whose weights stay as they are, or beside it, and how it is kept on disk."""
