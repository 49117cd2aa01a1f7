"""
What lies between preset ``diverging`` and preset ``recommended``, as named cures, one reason each.

A cure names settings; their values are those of the presets. So the study follows the presets
when they are tuned: a cure that no longer changes anything is left out, and a setting that no cure
names belongs to the last one.
"""

from typing import Any, Dict, List, NamedTuple, Tuple

from av_td3_ros import presets

SICK, WELL = 'diverging', 'recommended'
REST = 'rest'


class Cure(NamedTuple):
    """
    Settings that belong together.

    ``title``: for people, short. ``reason``: why it should help, one sentence. ``keys``: below
    ``trainer``; one that ends in a dot names a group.
    """

    title: str
    reason: str
    keys: Tuple[str, ...]


CURES: Dict[str, Cure] = {
    'feature_head': Cure(
        'feature head',
        'LayerNorm and tanh bound the image features, whatever the convolutions do.',
        ('learner.network.feature_head', 'learner.network.feature_size'),
    ),
    'shared_encoder': Cure(
        'shared encoder',
        'The critics train the only encoder: no policy gradient runs through convolutions.',
        ('learner.network.shared_encoder',),
    ),
    'encoder': Cure(
        'encoder',
        'Plain ReLU convolutions cut off what a leaky one lets through.',
        ('learner.network.encoder',),
    ),
    'pixels': Cure(
        'range of pixels',
        'Smaller inputs make smaller features and gradients in the first updates.',
        ('learner.network.pixels',),
    ),
    'initialisation': Cure(
        'initialisation',
        'A small last layer lets the actor begin in the middle of the tanh.',
        ('learner.network.initialisation',),
    ),
    'critic_layer_norm': Cure(
        'LayerNorm in critics',
        'Q cannot grow without end where there are no data.',
        ('learner.network.critic_layer_norm',),
    ),
    'loss': Cure(
        'Huber loss',
        'A large error pulls no harder than a small one.',
        ('learner.loss',),
    ),
    'reward_scale': Cure(
        'scale of rewards',
        'Q, its gradient and that of the actor are as large as the rewards are.',
        ('learner.reward_scale',),
    ),
    'pre_tanh_penalty': Cure(
        'pre-tanh penalty',
        'The actor pays for leaving the slope of the tanh, from which it would not return.',
        ('learner.pre_tanh_penalty',),
    ),
    'learning_rates': Cure(
        'learning rates',
        'The steps of encoder, critics and actor fit each other.',
        (
            'learner.optimiser.encoder_lr',
            'learner.optimiser.critic_lr',
            'learner.optimiser.actor_lr',
        ),
    ),
    'gradient_clip': Cure(
        'gradient clip',
        'A single batch cannot throw the networks far.',
        (
            'learner.optimiser.clip',
            'learner.optimiser.critic_clip',
            'learner.optimiser.actor_clip',
        ),
    ),
    'discount': Cure(
        'discount',
        'It sets how large Q may become, and how far ahead it looks.',
        ('learner.discount',),
    ),
    'targets': Cure(
        'targets',
        'What the critics learn: how slowly targets follow, and what bounds them.',
        ('learner.tau', 'learner.policy_delay', 'learner.actor_q_clamp', 'learner.target.'),
    ),
    'shift': Cure(
        'random shift',
        'An encoder that sees each image moved cannot learn its replay by heart.',
        ('learner.shift_pad',),
    ),
    'privileged': Cure(
        'privileged state',
        'Critics and features learn from where the vehicle is, which the policy must see.',
        ('learner.privileged_critics', 'learner.privileged_loss'),
    ),
    'n_step': Cure(
        'n-step returns',
        'Rewards reach further back before values are learned from values.',
        ('learner.n_step',),
    ),
    'batch_size': Cure(
        'batch size',
        'Smaller batches are noisier and cheaper.',
        ('learner.batch_size',),
    ),
    'update_ratio': Cure(
        'update ratio',
        'Fewer updates per step of experience overfit less.',
        ('update_every', 'updates_per_round'),
    ),
    'warmup': Cure(
        'warm-up',
        'The first experience holds driving, not standing and trembling.',
        (
            'update_after',
            'exploration.warmup_steps',
            'exploration.warmup',
            'exploration.warmup_throttle',
        ),
    ),
    'exploration': Cure(
        'exploration noise',
        'Noise that is large at first and lasts moves a car; small white noise cancels out.',
        (
            'exploration.std_start',
            'exploration.std_end',
            'exploration.std_steps',
            'exploration.correlation',
        ),
    ),
    'replay': Cure(
        'replay',
        'What is drawn, and from how far back.',
        ('replay.',),
    ),
    REST: Cure('everything else', 'What no cure above names.', ()),
}


class Configuration(NamedTuple):
    """
    What one or more runs are made of.

    ``kind``: preset, cure, ablation or attempt. ``values``: settings of a run, by dotted key.
    ``changes``: what differs from the one that it starts from: (from, to) by key. ``base``: the
    name of that one, or ''. ``fault``: what is done to the learner that no setting does, or ''.
    """

    name: str
    title: str
    kind: str
    reason: str
    values: Dict[str, Any]
    changes: Dict[str, Tuple[Any, Any]]
    base: str = ''
    fault: str = ''


def differences() -> Dict[str, Dict[str, Tuple[Any, Any]]]:
    """Return by cure what it changes of ``diverging``: (from, to) by key; those that change."""
    found: Dict[str, Dict[str, Tuple[Any, Any]]] = {name: {} for name in CURES}
    for key, pair in presets.difference(SICK, WELL).items():
        found[cure_of(key)][key] = pair
    return {name: changes for name, changes in found.items() if changes}


def cure_of(key: str) -> str:
    """Return the cure that a setting belongs to, by its key as in a config file."""
    below = key.removeprefix(presets.PREFIX)
    for name, cure in CURES.items():
        for known in cure.keys:
            if below == known or known.endswith('.') and below.startswith(known):
                return name
    return REST


def configurations(ablations: bool = False) -> List[Configuration]:
    """
    Return what the study of failure runs: the sick preset, with each cure alone, the well one.

    :param ablations: also the well preset with each cure taken away.
    """
    sick, well = (
        Configuration(name, name, 'preset', presets.description(name), presets.load(name), {})
        for name in (SICK, WELL)
    )
    found = [sick, *with_cures(sick, 'with'), well]
    for name, pairs in differences().items() if ablations else ():
        cure = CURES[name]
        back = {key: (pair[1], pair[0]) for key, pair in pairs.items()}
        spoiled = {**well.values, **{key: pair[1] for key, pair in back.items()}}
        title = f'{WELL} - {cure.title}'
        found.append(
            Configuration(f'without_{name}', title, 'ablation', cure.reason, spoiled, back, WELL)
        )
    return found


def with_cures(sick: Configuration, prefix: str) -> List[Configuration]:
    """Return a configuration with each cure alone; ``prefix``: of their names."""
    found = []
    well = presets.load(WELL)
    for name in differences():
        cure = CURES[name]
        changes = {
            key: (value, well[key])
            for key, value in sick.values.items()
            if cure_of(key) == name and well[key] != value
        }
        cured = {**sick.values, **{key: pair[1] for key, pair in changes.items()}}
        found.append(
            Configuration(
                f'{prefix}_{name}',
                f'+ {cure.title}',
                'cure',
                cure.reason,
                cured,
                changes,
                sick.name,
                sick.fault,
            )
        )
    return found
