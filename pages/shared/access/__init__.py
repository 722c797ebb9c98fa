"""Who may come in, how much they may take, and what they may do."""
