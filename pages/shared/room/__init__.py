"""Made for a room: a page's address to share, prepared for a class, and shown on a stage."""
