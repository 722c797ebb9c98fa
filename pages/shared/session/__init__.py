"""What a session looks at, and the services behind all sessions."""
