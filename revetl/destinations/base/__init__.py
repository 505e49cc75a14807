"""What every connector is made of: its spec, its flow of requests, records, and dispositions."""
