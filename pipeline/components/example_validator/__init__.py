"""ExampleValidator: are these examples fit to train on, and like those before?"""
