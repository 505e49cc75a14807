{{ revetl.messages('identifies', columns=[], documents=['traits'], sample='revetl_sample_identifies') }}
