"""The status page and Prometheus metrics; off by default: no server loaded, no socket."""
