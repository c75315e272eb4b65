"""Training jobs, from a text to a model: what runs, what is shown, and the training process."""
