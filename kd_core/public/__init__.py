"""The engine from a notebook: networks and tensors of one's own, in one call. kd_core hands it on by name."""
