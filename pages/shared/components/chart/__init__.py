"""A plotly chart that keeps its zoom."""
