"""Figures of the studies: published, under their conventions, properly. Every run is a visible point or line."""
