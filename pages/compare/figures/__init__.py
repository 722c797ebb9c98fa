"""Figures that only this screen draws."""
