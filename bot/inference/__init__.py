"""Prompts -> texts, off the event loop: a fair queue of batches, and what writes them."""
