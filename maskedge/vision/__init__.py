"""One picture at a time: motion, faces, masks, quality. Knows no time and no people."""
