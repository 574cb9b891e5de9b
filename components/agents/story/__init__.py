"""What the agents share: the models, streams and keys of a story, and the pure parts of writing one."""
