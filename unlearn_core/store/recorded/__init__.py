"""What was recorded to ship with Lethe: finished runs, and conversations about them."""
