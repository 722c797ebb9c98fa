"""The temperature slider and the bars under it."""
