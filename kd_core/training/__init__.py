"""Training as a generator of records: config, loop, checkpoint and exact resume."""
