"""What networks learn from: the catalogue of data sets, how they are fetched, loaded and drawn."""
