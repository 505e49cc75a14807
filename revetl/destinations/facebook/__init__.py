"""Meta's Graph API: Custom Audiences and the Conversions API."""
