"""The app with a quick demo of a few epochs, for tests of what surrounds it.

python tests/helpers/short_demo.py run app.py [options of streamlit run]
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from kd_core.experiments import presets
from kd_core.experiments.story import StoryConfig

whole = presets.quick_demo


def short(dataset: str, seed: int = 0) -> StoryConfig:
    """Return the quick demo's story with fewer epochs."""
    story = whole(dataset, seed)
    teacher_training = story.teacher_training.replace(epochs=4)
    return story.replace(training=story.training.replace(epochs=10), teacher_training=teacher_training)


if __name__ == "__main__":  # and not in the processes that it spawns
    from streamlit.web import cli

    presets.quick_demo = short
    cli.main(prog_name="streamlit")
