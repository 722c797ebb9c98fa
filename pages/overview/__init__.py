"""Overview: what this is, the state of the lab, the quick demo."""
