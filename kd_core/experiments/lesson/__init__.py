"""The lesson: its words in one catalogue, its questions with truths computed from the models at hand."""
