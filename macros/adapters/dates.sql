{# The current time in UTC, without a zone. #}
{% macro utc_now() -%}
    {{ return(adapter.dispatch('utc_now', 'revetl')()) }}
{%- endmacro %}

{% macro default__utc_now() -%}
    cast(current_timestamp at time zone 'UTC' as timestamp)
{%- endmacro %}

{# A timestamp moved by whole days. #}
{% macro days_before(moment, days) -%}
    {{ return(adapter.dispatch('days_before', 'revetl')(moment, days)) }}
{%- endmacro %}

{% macro default__days_before(moment, days) -%}
    ({{ moment }} - interval '{{ days }} days')
{%- endmacro %}

{% macro days_after(moment, days) -%}
    {{ return(adapter.dispatch('days_after', 'revetl')(moment, days)) }}
{%- endmacro %}

{% macro default__days_after(moment, days) -%}
    ({{ moment }} + interval '{{ days }} days')
{%- endmacro %}

{# A timestamp moved by hours, which may have a fraction. #}
{% macro hours_before(moment, hours) -%}
    {{ return(adapter.dispatch('hours_before', 'revetl')(moment, hours)) }}
{%- endmacro %}

{% macro default__hours_before(moment, hours) -%}
    ({{ moment }} - interval '{{ (hours * 3600) | int }} seconds')
{%- endmacro %}

{# The days from one timestamp to another, with their fraction. #}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'revetl')(earlier, later)) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    (extract(epoch from ({{ later }} - {{ earlier }})) / 86400.0)
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

{% macro duckdb__epoch_microseconds(moment) -%}
    epoch_us({{ moment }})
{%- endmacro %}
