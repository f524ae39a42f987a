"""Boxes over frames become persons, and scores over frames one decision for each."""
