"""What a run takes in time, memory and money: foretold from its spec, measured, and set beside each other."""
