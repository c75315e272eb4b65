"""What the operator sees: --check, log, health, metrics, systemd, preview.

Owns the process's output and endpoints. May import everything in `bot` except `__main__`.
"""
