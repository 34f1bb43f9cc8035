"""The viewer: results as one self-contained page, and a folder of them served on this machine."""
