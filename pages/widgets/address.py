"""Reading numbers from the address: anything that is not one reads as the default."""

import math

import streamlit as st

LOWEST, HIGHEST = 0.1, 100.0


def temperature_of_address(default: float = 4.0) -> float:
    """T of the address, within the slider's range."""
    try:
        named = float(st.query_params.get("T", default))
    except ValueError:
        return default
    return min(HIGHEST, max(LOWEST, named)) if math.isfinite(named) else default
