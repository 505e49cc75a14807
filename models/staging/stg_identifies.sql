{{ revetl.messages('identifies', columns=[], documents=['traits'], sample='sample_identifies') }}
