"""Plain records as plotly figures."""
