"""Users' own data: a folder or zip of class folders, checked, prepared once, kept."""
