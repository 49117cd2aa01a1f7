from pathlib import Path
def share(*parts):
    root = Path(__file__).resolve().parents[2]
    return root.joinpath(*parts)
