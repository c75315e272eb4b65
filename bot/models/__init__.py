"""The models that a server writes with: which there are, which is in use, which are in memory."""
