"""Chat templates of models: compiled, and read for the efforts that they take."""
