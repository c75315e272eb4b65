"""What the operator sees: --check, log, health, metrics, systemd, preview."""
