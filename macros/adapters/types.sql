{# The engine's type for one of the portable names: varchar, json, timestamp, bigint. #}
{% macro type_of(name) -%}
    {{ return(adapter.dispatch('type_of', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__type_of(name) -%}
    {{ return(name) }}
{%- endmacro %}
