"""Fits of photos, judged by people: what becomes of them is a training set (the paper's curated fits, section 3.3)."""
