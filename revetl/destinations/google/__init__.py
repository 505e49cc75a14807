"""Google: Ads (Customer Match, conversions) and Analytics."""
