"""The objectives: what people read of each, and what computes it of a batch. Imports no torch."""
