"""The words that the bot never says: the operator's list and each server's."""
