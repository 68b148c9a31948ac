"""Observation only: the log, systemd's journal, and the status and watchdog messages to systemd."""
