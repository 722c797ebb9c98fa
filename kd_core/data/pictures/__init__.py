"""Pictures that people make: what their files show, and the digit in a photograph."""
