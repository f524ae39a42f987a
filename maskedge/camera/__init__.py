"""Camera sources behind one protocol; see :mod:`maskedge.camera.frame`."""
