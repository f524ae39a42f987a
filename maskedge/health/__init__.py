"""Faults, counters and the watchdog: how the program tells how it is."""
