"""Temperature: every model's softened bars under a slider."""
