"""The parametric body: keypoint names and tables, the model file, and numpy joints and meshes."""
