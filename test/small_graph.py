"""Settings of graphs: small pictures and networks, and patience where seconds are no question."""

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
    # What so small a network learns in a minute is not the question.
    'trainer.health.halting': 'q_unbounded',
}

# A machine that is busy elsewhere must not make the graph brake or tick without a command.
PATIENT = {
    'simulator.control_timeout': 10.0,
    'policy.gate.observation_timeout': 9.0,
}
