"""Old networks: `.h5` files of Keras 1 and 2, read without running them, and the proof that predictions stay."""
