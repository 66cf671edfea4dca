"""What models answer, drawn: side by side, in a conversation, token by token, and in a game."""
