"""What is known before a run starts, and what its numbers say when it has ended."""
