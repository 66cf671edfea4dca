"""What the game "Recover it" keeps of its players: games, finds, and secrets asked after relearning."""
