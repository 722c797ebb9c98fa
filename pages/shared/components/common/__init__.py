"""JavaScript that the components share."""
