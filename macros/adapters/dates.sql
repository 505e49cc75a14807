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
