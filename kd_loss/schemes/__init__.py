"""What is predicted: a scheme of landmarks as data, how it is drawn, the head pose that it tells."""
