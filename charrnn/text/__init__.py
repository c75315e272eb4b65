"""What becomes training text: files, plays and chat messages, cleaned, split and cut into batches.

Imports only the core of `charrnn`.
"""
