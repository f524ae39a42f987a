"""From a decision to the broker, each event exactly once for who looks at its id."""
