"""The review set: uncertain faces, kept on this machine for a person to label. Off by default."""
