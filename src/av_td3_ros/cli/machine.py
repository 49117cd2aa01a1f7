"""What a measurement was made on."""

from importlib import metadata
import os
from pathlib import Path
import platform
from typing import Any, Dict


def machine() -> Dict[str, Any]:
    """Describe this machine."""
    model = platform.processor()
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        model = next(
            (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')),
            model,
        )
    except OSError:
        pass
    return {
        'processor': model,
        'cores': os.cpu_count(),
        'python': platform.python_version(),
        'system': f'{platform.system()} {platform.machine()}',
        **{name: metadata.version(name) for name in ('numpy', 'torch')},
    }
