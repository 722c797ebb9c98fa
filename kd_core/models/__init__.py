"""The networks: their catalogue, config and modules, and models that come from elsewhere."""
