"""Pictures in: reading photos and cutting square crops out of them."""
