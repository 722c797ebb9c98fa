"""Parts of a page that more than one screen has."""
