"""Training: from texts to a model folder.

Only this folder imports Keras, TensorFlow, ONNX and Matplotlib. It imports `charrnn.text` and the
core. `events`, `recipes` and `checkpoint` need none of these packages, so that the bot can import
them; this file imports nothing.
"""
