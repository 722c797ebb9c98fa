"""Tables of results."""

import pandas as pd
import streamlit as st


def numbers(table: pd.DataFrame) -> None:
    """Show a table whose first column is words and whose others are numbers, also where these are written as text."""
    right = {str(name): st.column_config.Column(alignment="right") for name in table.columns[1:]}
    st.dataframe(table, hide_index=True, column_config=right)
