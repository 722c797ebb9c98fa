"""What every room of the engine stands on: errors, paths, whole files, tensors on disk, processes."""
