"""What the server does beside Streamlit's own work."""
