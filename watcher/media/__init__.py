"""Probing, the render graph and the ffmpeg process: everything that touches media."""
