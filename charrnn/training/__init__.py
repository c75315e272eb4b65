"""Training: from texts to a model folder.

Only this folder imports Keras, TensorFlow, ONNX and Matplotlib. `events`, `job`, `recipes` and
`run.checkpoint` need none of them, so that the bot can import them; this file imports nothing.
"""
