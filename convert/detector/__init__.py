"""The face detector: network, loss, training data, training, export and scoring."""
