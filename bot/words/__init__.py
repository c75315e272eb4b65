"""The words that the bot never says: the operator's list and each server's.

Imports storage and errors; knows nothing of models and of Discord."""
