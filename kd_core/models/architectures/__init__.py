"""One file an architecture: how it is built, and what forms, shell and uploads need to know. Imports no torch."""
