{# The current time in UTC, without a zone. #}
{% macro utc_now() -%}
    {{ return(adapter.dispatch('utc_now', 'revetl')()) }}
{%- endmacro %}

{% macro default__utc_now() -%}
    cast(current_timestamp at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro snowflake__utc_now() -%}
    sysdate()
{%- endmacro %}

{# A BigQuery timestamp is a moment, and shown in UTC. #}
{% macro bigquery__utc_now() -%}
    current_timestamp()
{%- endmacro %}

{# The session's zone is UTC where nobody has set another. #}
{% macro redshift__utc_now() -%}
    convert_timezone(current_setting('timezone'), 'UTC', sysdate)
{%- endmacro %}

{# The time by the session's zone, moved to UTC. #}
{% macro spark__utc_now() -%}
    convert_timezone('UTC', localtimestamp())
{%- endmacro %}

{% macro fabric__utc_now() -%}
    cast(sysutcdatetime() as datetime2(6))
{%- endmacro %}

{# A timestamp moved by whole days. #}
{% macro days_before(moment, days) -%}
    {{ return(adapter.dispatch('days_before', 'revetl')(moment, days)) }}
{%- endmacro %}

{% macro default__days_before(moment, days) -%}
    ({{ moment }} - interval '{{ days }} days')
{%- endmacro %}

{% macro snowflake__days_before(moment, days) -%}
    dateadd(day, -{{ days }}, {{ moment }})
{%- endmacro %}

{% macro bigquery__days_before(moment, days) -%}
    timestamp_sub({{ moment }}, interval {{ days }} day)
{%- endmacro %}

{% macro redshift__days_before(moment, days) -%}
    dateadd(day, -{{ days }}, {{ moment }})
{%- endmacro %}

{% macro spark__days_before(moment, days) -%}
    ({{ moment }} - interval '{{ days }}' day)
{%- endmacro %}

{% macro fabric__days_before(moment, days) -%}
    dateadd(day, -{{ days }}, {{ moment }})
{%- endmacro %}

{% macro days_after(moment, days) -%}
    {{ return(adapter.dispatch('days_after', 'revetl')(moment, days)) }}
{%- endmacro %}

{% macro default__days_after(moment, days) -%}
    ({{ moment }} + interval '{{ days }} days')
{%- endmacro %}

{% macro snowflake__days_after(moment, days) -%}
    dateadd(day, {{ days }}, {{ moment }})
{%- endmacro %}

{% macro bigquery__days_after(moment, days) -%}
    timestamp_add({{ moment }}, interval {{ days }} day)
{%- endmacro %}

{% macro redshift__days_after(moment, days) -%}
    dateadd(day, {{ days }}, {{ moment }})
{%- endmacro %}

{% macro spark__days_after(moment, days) -%}
    ({{ moment }} + interval '{{ days }}' day)
{%- endmacro %}

{% macro fabric__days_after(moment, days) -%}
    dateadd(day, {{ days }}, {{ moment }})
{%- endmacro %}

{# A timestamp moved by hours, which may have a fraction. #}
{% macro hours_before(moment, hours) -%}
    {{ return(adapter.dispatch('hours_before', 'revetl')(moment, hours)) }}
{%- endmacro %}

{% macro default__hours_before(moment, hours) -%}
    ({{ moment }} - interval '{{ (hours * 3600) | int }} seconds')
{%- endmacro %}

{% macro snowflake__hours_before(moment, hours) -%}
    dateadd(second, -{{ (hours * 3600) | int }}, {{ moment }})
{%- endmacro %}

{% macro bigquery__hours_before(moment, hours) -%}
    timestamp_sub({{ moment }}, interval {{ (hours * 3600) | int }} second)
{%- endmacro %}

{% macro redshift__hours_before(moment, hours) -%}
    dateadd(second, -{{ (hours * 3600) | int }}, {{ moment }})
{%- endmacro %}

{% macro spark__hours_before(moment, hours) -%}
    ({{ moment }} - interval '{{ (hours * 3600) | int }}' second)
{%- endmacro %}

{% macro fabric__hours_before(moment, hours) -%}
    dateadd(second, -{{ (hours * 3600) | int }}, {{ moment }})
{%- endmacro %}

{# The days from one timestamp to another, with their fraction. #}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'revetl')(earlier, later)) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    (extract(epoch from ({{ later }} - {{ earlier }})) / 86400.0)
{%- endmacro %}

{% macro snowflake__days_between(earlier, later) -%}
    (cast(timestampdiff(microsecond, {{ earlier }}, {{ later }}) as double) / 86400000000)
{%- endmacro %}

{% macro bigquery__days_between(earlier, later) -%}
    (timestamp_diff({{ later }}, {{ earlier }}, microsecond) / 86400000000)
{%- endmacro %}

{% macro redshift__days_between(earlier, later) -%}
    (cast(datediff(microsecond, {{ earlier }}, {{ later }}) as double precision) / 86400000000)
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    (cast({{ revetl.spark_seconds(earlier, later) }} as double) / 86400)
{%- endmacro %}

{# The seconds as an exact number. Its functions of two timestamps take moments, of the session's zone. #}
{% macro spark_seconds(earlier, later) -%}
    cast(cast({{ later }} - {{ earlier }} as interval second) as decimal(20, 6))
{%- endmacro %}

{% macro fabric__days_between(earlier, later) -%}
    (cast(datediff_big(microsecond, {{ earlier }}, {{ later }}) as float) / 86400000000)
{%- endmacro %}

{# As DuckDB has it: what is divided and rounded by other means falls otherwise at a half. #}
{% macro postgres__days_between(earlier, later) -%}
    (cast(extract(epoch from ({{ later }} - {{ earlier }})) as double precision) / 86400.0)
{%- endmacro %}

{% macro duckdb__days_between(earlier, later) -%}
    (epoch({{ later }} - {{ earlier }}) / 86400.0)
{%- endmacro %}

{# The seconds from one timestamp to another, to the millisecond. #}
{% macro seconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('seconds_between', 'revetl')(earlier, later)) }}
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    cast(extract(epoch from ({{ later }} - {{ earlier }})) as decimal(18, 3))
{%- endmacro %}

{% macro snowflake__seconds_between(earlier, later) -%}
    cast(timestampdiff(microsecond, {{ earlier }}, {{ later }}) / 1000000 as decimal(18, 3))
{%- endmacro %}

{% macro bigquery__seconds_between(earlier, later) -%}
    cast(cast(timestamp_diff({{ later }}, {{ earlier }}, microsecond) as numeric) / 1000000 as numeric(18, 3))
{%- endmacro %}

{# Whole numbers divide to whole numbers. #}
{% macro redshift__seconds_between(earlier, later) -%}
    cast(round(datediff(microsecond, {{ earlier }}, {{ later }}) / 1000000.0, 3) as decimal(18, 3))
{%- endmacro %}

{% macro spark__seconds_between(earlier, later) -%}
    cast({{ revetl.spark_seconds(earlier, later) }} as decimal(18, 3))
{%- endmacro %}

{% macro fabric__seconds_between(earlier, later) -%}
    cast(round(datediff_big(microsecond, {{ earlier }}, {{ later }}) / 1000000.0, 3) as decimal(18, 3))
{%- endmacro %}

{% macro postgres__seconds_between(earlier, later) -%}
    {% set seconds = 'cast(extract(epoch from (' ~ later ~ ' - ' ~ earlier ~ ')) as double precision)' -%}
    {{ revetl.as_decimal(seconds, 18, 3) }}
{%- endmacro %}

{% macro duckdb__seconds_between(earlier, later) -%}
    cast(epoch({{ later }} - {{ earlier }}) as decimal(18, 3))
{%- endmacro %}

{# A timestamp as whole microseconds since 1970. #}
{% macro epoch_microseconds(moment) -%}
    {{ return(adapter.dispatch('epoch_microseconds', 'revetl')(moment)) }}
{%- endmacro %}

{% macro default__epoch_microseconds(moment) -%}
    cast(extract(epoch from {{ moment }}) * 1000000 as bigint)
{%- endmacro %}

{% macro snowflake__epoch_microseconds(moment) -%}
    date_part(epoch_microsecond, {{ moment }})
{%- endmacro %}

{% macro bigquery__epoch_microseconds(moment) -%}
    unix_micros({{ moment }})
{%- endmacro %}

{# Its epoch has whole seconds. #}
{% macro redshift__epoch_microseconds(moment) -%}
    datediff(microsecond, cast('1970-01-01' as timestamp), {{ moment }})
{%- endmacro %}

{% macro spark__epoch_microseconds(moment) -%}
    cast({{ revetl.spark_seconds("cast('1970-01-01' as timestamp_ntz)", moment) }} * 1000000 as bigint)
{%- endmacro %}

{% macro fabric__epoch_microseconds(moment) -%}
    datediff_big(microsecond, cast('1970-01-01' as datetime2(6)), {{ moment }})
{%- endmacro %}

{% macro duckdb__epoch_microseconds(moment) -%}
    epoch_us({{ moment }})
{%- endmacro %}

{# The beginning of a moment's day, week (Monday), month, quarter or year. #}
{% macro start_of(unit, moment) -%}
    {{ return(adapter.dispatch('start_of', 'revetl')(unit, moment)) }}
{%- endmacro %}

{% macro default__start_of(unit, moment) -%}
    cast(date_trunc('{{ unit }}', {{ moment }}) as {{ revetl.type_of('timestamp') }})
{%- endmacro %}

{# Its week begins on Sunday. #}
{% macro bigquery__start_of(unit, moment) -%}
    timestamp_trunc({{ moment }}, {{ 'isoweek' if unit == 'week' else unit }})
{%- endmacro %}

{# What a session says of weeks does not count for days since a Monday. #}
{% macro snowflake__start_of(unit, moment) -%}
    {% if unit == 'week' -%}
    dateadd(day, -mod(datediff(day, '1900-01-01', {{ moment }}), 7), date_trunc('day', {{ moment }}))
    {%- else -%}
    date_trunc('{{ unit }}', {{ moment }})
    {%- endif %}
{%- endmacro %}

{% macro fabric__start_of(unit, moment) -%}
    datetrunc({{ 'iso_week' if unit == 'week' else unit }}, {{ moment }})
{%- endmacro %}

{# A timestamp moved by a number of seconds, rounded to whole ones. #}
{% macro seconds_after(moment, seconds) -%}
    {{ return(adapter.dispatch('seconds_after', 'revetl')(moment, seconds)) }}
{%- endmacro %}

{% macro default__seconds_after(moment, seconds) -%}
    ({{ moment }} + interval '1 second' * round({{ seconds }}))
{%- endmacro %}

{% macro duckdb__seconds_after(moment, seconds) -%}
    ({{ moment }} + to_seconds(cast(round({{ seconds }}) as bigint)))
{%- endmacro %}

{% macro snowflake__seconds_after(moment, seconds) -%}
    dateadd(second, round({{ seconds }}), {{ moment }})
{%- endmacro %}

{% macro bigquery__seconds_after(moment, seconds) -%}
    timestamp_add({{ moment }}, interval cast(round({{ seconds }}) as int64) second)
{%- endmacro %}

{% macro redshift__seconds_after(moment, seconds) -%}
    dateadd(second, cast(round({{ seconds }}) as bigint), {{ moment }})
{%- endmacro %}

{% macro spark__seconds_after(moment, seconds) -%}
    ({{ moment }} + cast(round({{ seconds }}) as int) * interval '1' second)
{%- endmacro %}

{% macro fabric__seconds_after(moment, seconds) -%}
    dateadd(second, cast(round({{ seconds }}, 0) as int), {{ moment }})
{%- endmacro %}
