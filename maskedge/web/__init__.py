"""The status page and Prometheus metrics; off by default, then nothing of this is even loaded."""
