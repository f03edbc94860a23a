"""Drawn faces with exact landmarks and poses: pictures without a licence to ask for."""
