"""Keras files from elsewhere: what they contain, the network of today that it means, the model
folder made of it. Nothing in such a file is given to Keras."""
