{# A timestamp moved by whole months; a day that the month does not have becomes its last. #}
{% macro months_after(moment, months) -%}
    {{ return(adapter.dispatch('months_after', 'revetl')(moment, months)) }}
{%- endmacro %}

{% macro default__months_after(moment, months) -%}
    ({{ moment }} + interval '{{ months }} months')
{%- endmacro %}

{% macro snowflake__months_after(moment, months) -%}
    dateadd(month, {{ months }}, {{ moment }})
{%- endmacro %}

{# Its timestamps are moments, which know no months. #}
{% macro bigquery__months_after(moment, months) -%}
    timestamp(datetime_add(datetime({{ moment }}), interval {{ months }} month))
{%- endmacro %}

{% macro redshift__months_after(moment, months) -%}
    dateadd(month, {{ months }}, {{ moment }})
{%- endmacro %}

{% macro spark__months_after(moment, months) -%}
    ({{ moment }} + interval '{{ months }}' month)
{%- endmacro %}

{% macro fabric__months_after(moment, months) -%}
    dateadd(month, {{ months }}, {{ moment }})
{%- endmacro %}
