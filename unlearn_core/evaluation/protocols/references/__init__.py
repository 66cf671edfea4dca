"""What a result is read against: a model that never saw the forget set, and what others published."""
