"""Old networks: `.h5` files of Keras 1 and 2, read without executing them, with a check that predictions stay."""
