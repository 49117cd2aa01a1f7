"""Settings of runs that take a second: small pictures, small networks, one thread."""

SMALL = {
    'observation.height': 36,
    'observation.width': 36,
    'simulator.image_width': 64,
    'simulator.image_height': 48,
    'trainer.learner.batch_size': 8,
    'trainer.learner.network.hidden_1': 16,
    'trainer.learner.network.hidden_2': 16,
    'trainer.learner.network.feature_size': 16,
    'trainer.precision': 'fp32',
    'trainer.threads': 1,
}
