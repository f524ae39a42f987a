"""What happens on the spot when a violation starts or ends, with or without a broker."""
