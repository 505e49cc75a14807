{{ revetl.messages('identifies', columns=[], documents=['traits'], sample='int_revetl__sample_identifies') }}
