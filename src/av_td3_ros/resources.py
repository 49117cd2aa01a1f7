"""Where the shipped files are: maps, launch files, parameter files."""

from pathlib import Path
import re
import sysconfig

PACKAGE = 'av_td3_ros'
# Maps that need no file of one's own.
SHIPPED_MAP, GENERATED_MAP = 'town', 'random_town'


def share(*parts: str) -> Path:
    """
    Return the path of a shipped file: of the source checkout where this is one, else of the
    installation.

    :param parts: such as ``'maps', 'town.xodr'``.
    """
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / 'package.xml').exists():
        return checkout.joinpath(*parts)
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE)).joinpath(*parts)
    except (ImportError, LookupError):
        return Path(sysconfig.get_path('data'), 'share', PACKAGE, *parts)


def generated_seeds(map: str) -> range:
    """Return the seeds of the generated towns on a map; none of any other map."""
    found = re.fullmatch(rf'{GENERATED_MAP}:(\d+)(?:-(\d+))?', map, re.ASCII)
    if found is None:
        return range(0)
    first, last = int(found[1]), int(found[2] or found[1])
    return range(first, last + 1)


def map_source(text: str) -> str:
    """Return a map as a node may be told it: a name as it is, a path made absolute."""
    is_name = text == SHIPPED_MAP or text.startswith(f'{GENERATED_MAP}:')
    return text if is_name else str(Path(text).resolve())
