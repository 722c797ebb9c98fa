"""The queue: who gets which worker, and what a worker does with a run."""
