"""The building blocks of connectors: spec, flow of requests, records, and dispositions."""
