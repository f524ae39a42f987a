"""maskedge: a face-mask monitor for a Raspberry Pi, with or without a Google Coral."""

__version__ = "0.1.0"
