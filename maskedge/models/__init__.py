"""Installed networks: where they lie, which are in force, and proof that they are fit."""
