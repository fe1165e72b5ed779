"""Generated patients: anatomy, shapes, textures and the canvas they are drawn on."""
