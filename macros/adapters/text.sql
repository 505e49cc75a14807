{# Whether a text matches a regular expression anywhere in it. #}
{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch('matches', 'revetl')(text, pattern)) }}
{%- endmacro %}

{% macro default__matches(text, pattern) -%}
    ({{ text }} ~ '{{ pattern }}')
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}
