"""What models are worth: pure functions of logits and labels, and measured speed."""
