"""``maskedge detect``: judges recorded pictures and videos, and draws what it saw."""
