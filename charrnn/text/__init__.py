"""Training text: files, plays and chat messages, cleaned and split."""
