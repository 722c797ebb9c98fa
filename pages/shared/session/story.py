"""The story that a session sets up, in its form and its address."""

import json

import streamlit as st

from kd_core.base.packed import pack, unpack
from kd_core.experiments import defaults
from kd_core.experiments import story as experiments_story
from kd_core.experiments.story import StoryConfig

SETUP = "setup"
LONGEST_ADDRESS = 4000
LONGEST_STORY = 50_000


def chosen_story() -> StoryConfig:
    """The story of this session, else the address's, else the one that serves the largest data set at hand."""
    if SETUP not in st.session_state:
        st.session_state[SETUP] = of_address(st.query_params.get(SETUP, "")) or default_story()
    story: StoryConfig = st.session_state[SETUP]
    return story


def set_story(story: StoryConfig) -> None:
    """Fill the whole form. Call it before the form is drawn: from a callback, or on another page."""
    st.session_state[SETUP] = story
    for name in list(st.session_state):
        if str(name).startswith("form_"):
            del st.session_state[name]


def default_story() -> StoryConfig:
    return StoryConfig.default(defaults.default_dataset())


def to_address(story: StoryConfig) -> str:
    """What differs from the data set's default, packed."""
    default = experiments_story.StoryConfig.default(story.dataset).model_dump(mode="json")
    changed = {name: value for name, value in story.model_dump(mode="json").items() if value != default[name]}
    text = json.dumps({**changed, "dataset": story.dataset}, separators=(",", ":"))
    return pack(text.encode())


def of_address(text: str) -> StoryConfig | None:
    """The story that to_address packed, or None for anything else."""
    try:
        values = json.loads(unpack(text, LONGEST_ADDRESS, LONGEST_STORY))
        return StoryConfig.default(values["dataset"]).replace(**values)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
