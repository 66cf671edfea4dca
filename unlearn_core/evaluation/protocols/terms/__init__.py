"""What benchmarks are made of: passes over rows, the values they give, and the terms and tables made of those."""
