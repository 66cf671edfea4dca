"""The commands of `lethe`, one module each: its flags, the call of the core, and what it prints."""
