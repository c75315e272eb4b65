"""Prompts -> texts, off the event loop: a fair queue of batches, and the executor that writes them.

Imports bot.models for the models in memory and bot.errors, and nothing of Discord."""
