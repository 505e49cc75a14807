"""How connectors authenticate: basic, OAuth 1.0a, OAuth 2.0, and stored sign-ins."""
