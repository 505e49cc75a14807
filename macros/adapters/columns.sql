{# A column by its name in YAML, quoted. #}
{% macro quoted(name) -%}
    {{ return(adapter.dispatch('quoted', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__quoted(name) -%}
    {{ return(adapter.quote(name)) }}
{%- endmacro %}

{# Names without quotes are upper case, and models write none. #}
{% macro snowflake__quoted(name) -%}
    {{ return(adapter.quote(name | upper)) }}
{%- endmacro %}

{# The name of a column of a relation, as YAML would have it. #}
{% macro name_in_yaml(column) -%}
    {{ return(adapter.dispatch('name_in_yaml', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__name_in_yaml(column) -%}
    {{ return(column.name) }}
{%- endmacro %}

{% macro snowflake__name_in_yaml(column) -%}
    {{ return(column.name | lower if column.name == column.name | upper else column.name) }}
{%- endmacro %}
