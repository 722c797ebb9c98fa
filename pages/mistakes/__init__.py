"""Break it: mistakes of public code, made on purpose."""
