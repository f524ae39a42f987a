"""The mask classifier: crops with landmarks, drawn masks, augmentation, networks, training."""
