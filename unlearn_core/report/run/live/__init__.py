"""What moves while a run is under way, and can be played again after it: progress, curves, fade and map."""
