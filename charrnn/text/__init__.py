"""Training text: files, plays and chat messages, cleaned, split and cut into batches."""
