{# A column to order by in which nulls come last. #}
{% macro nulls_last(column) -%}
    {{ return(adapter.dispatch('nulls_last', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__nulls_last(column) -%}
    {{ column }}
{%- endmacro %}

{# Where they come first unless it is said. #}
{% macro spark__nulls_last(column) -%}
    {{ column }} nulls last
{%- endmacro %}

{% macro bigquery__nulls_last(column) -%}
    {{ column }} nulls last
{%- endmacro %}

{# Where it cannot be said. #}
{% macro fabric__nulls_last(column) -%}
    case when {{ column }} is null then 1 else 0 end, {{ column }}
{%- endmacro %}
