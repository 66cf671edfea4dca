"""Many runs from one wish: every method over seeds, and forget sets one after another."""
