"""Where the shipped files are: maps, launch files, parameter files."""

from pathlib import Path
import sysconfig

PACKAGE = 'av_td3_ros'


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
