"""Settings of a graph whose pictures and networks are as small as they may be."""

SMALL_GRAPH = {
    'observation.height': 36,
    'observation.width': 36,
    'simulator.image_width': 96,
    'simulator.image_height': 54,
    'trainer.updates_per_round': 3,
    'trainer.learner.batch_size': 16,
    'trainer.learner.network.hidden_1': 32,
    'trainer.learner.network.hidden_2': 32,
    'trainer.learner.network.feature_size': 16,
}
