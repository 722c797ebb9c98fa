"""What a student minimises: pure functions of logits and features, with their catalogue."""
