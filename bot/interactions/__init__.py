"""What all cogs share to deal with Discord: replies, buttons, errors, retries, rate limits."""
