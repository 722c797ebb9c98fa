"""Everything that pages share and that knows Streamlit: forms, pickers, the live view, browser components."""
